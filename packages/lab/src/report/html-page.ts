/** Rules of the page of a run, over what all pages share. */
export const STYLE = `
:root {
  --c0: light-dark(#3b6ea8, #6f9fd6); --c1: light-dark(#b36b2c, #d99a5b); --c2: light-dark(#2f8a63, #5bbd92); --c3: light-dark(#8a4f9e, #bd8bd0);
  --c4: light-dark(#b23a48, #e07a85); --c5: light-dark(#5f6b2e, #a3b062); --c6: light-dark(#7a7f87, #9aa0a8); --c7: light-dark(#1f7f8c, #5bb8c4);
}
.wide { overflow-x: auto; } table { width: auto; }
th, td { padding: 0 0 0 1.1rem; text-align: right; } th:first-child, td:first-child, th.text, td.text { text-align: left; }
th:first-child, td:first-child { padding-left: 0; } td.text { white-space: normal; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .6rem 0; } dt { color: var(--soft); } dd { margin: 0; grid-column: 2; }
.verdict { font-weight: 600; } .clean { color: light-dark(#1d7a46, #6fce97); } .soft { color: var(--soft); } .note { max-width: 60rem; }
figure { margin: .8rem 0; } figcaption { margin-bottom: .2rem; } .row { display: flex; flex-wrap: wrap; gap: 0 2rem; align-items: flex-end; }
.row figure { flex: 0 1 auto; min-width: 18rem; }
svg { max-width: 100%; height: auto; font: 11px system-ui, sans-serif; } svg text { fill: currentColor; } svg text.axis { fill: var(--soft); font-size: 10px; }
svg text.value { font-variant-numeric: tabular-nums; } line.grid { stroke: var(--line); } line.mark { stroke: var(--c4); stroke-dasharray: 4 3; } svg text.mark { fill: var(--c4); }
path.line { fill: none; stroke-width: 1.6; } .legend { display: flex; flex-wrap: wrap; gap: 0 1.1rem; font-size: 12px; color: var(--soft); }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .35em; vertical-align: -.05em; }
h3 { font-size: .95rem; margin: 1rem 0 .3rem; } summary { cursor: pointer; } summary h2 { display: inline; }
${Array.from({ length: 8 }, (_, i) => `.s${i} { fill: var(--c${i}); } .l${i} { stroke: var(--c${i}); } .k${i} { background: var(--c${i}); }`).join('\n')}
`;
