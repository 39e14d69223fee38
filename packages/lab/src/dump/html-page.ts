/** Style and script of the page of a dump, over what all pages share. */
export const STYLE = `
input { font: inherit; width: 28rem; max-width: 100%; padding: .4rem .6rem; } output { margin-left: 1rem; color: var(--soft); }
td:nth-child(3), td:nth-child(4), td:nth-child(5) { text-align: right; }
tr.wx td:nth-child(7) { color: light-dark(#b00020, #ff7b84); font-weight: 600; }
tr.device td:nth-child(8) { color: light-dark(#8a5a00, #e0a84a); }
.bars { margin: .8rem 0; max-width: 50rem; }
.bar { display: grid; grid-template-columns: 4.5rem 1fr 14rem; align-items: center; gap: .6rem; }
.bar i { height: .8rem; border-radius: 3px; background: #4a7dbd; } .bar i.l2 { background: #3f9b74; } .bar i.l3 { background: #b7813a; }
.bar b { font-weight: 400; color: var(--soft); }
`;

/** Rows shown at once for each table; a search reaches all of them. */
export const CLIENT = `
'use strict';
const SHOWN = 2000;
const q = document.getElementById('q');
const tables = [];
for (let i = 0; document.getElementById('d' + i); i++) {
  document.getElementById('s' + i).append(document.getElementById('m' + i).content);
  const rows = JSON.parse(document.getElementById('d' + i).textContent);
  const words = rows.map((row) => row.join(' ').toLowerCase());
  tables.push({ body: document.querySelector('#t' + i + ' tbody'), rows, words });
}
function show() {
  const text = q.value.trim().toLowerCase().replaceAll('_', '');
  const address = /^0x[0-9a-f]+$/.test(text) ? BigInt(text) : undefined;
  const terms = text.split(/\\s+/);
  let hits = 0;
  for (const { body, rows, words } of tables) {
    const found = [];
    rows.forEach((row, i) => {
      const inside = address !== undefined && BigInt(row[0]) <= address && address < BigInt(row[1]);
      if (inside || terms.every((term) => words[i].includes(term))) found.push(i);
    });
    hits += found.length;
    body.replaceChildren(...found.slice(0, SHOWN).map((i) => {
      const tr = document.createElement('tr');
      if (words[i].endsWith(' wx')) tr.classList.add('wx');
      if (rows[i][7].startsWith('device')) tr.classList.add('device');
      for (const cell of rows[i].slice(0, 10)) tr.insertCell().textContent = cell;
      return tr;
    }));
  }
  const all = tables.reduce((sum, { rows }) => sum + rows.length, 0);
  document.getElementById('hits').textContent = hits + ' of ' + all + ' mappings';
}
q.addEventListener('input', show);
show();
`;
