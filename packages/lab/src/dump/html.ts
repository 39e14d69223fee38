import { formatSize } from '@granule/geometry/bits';
import { type AddressPrinter, addressPrinter, inputName, outputName, type RegimeTables } from '../image/regime-tables.js';
import { escapeHtml, PAGE_END, pageHead } from '../page/page.js';
import { CLIENT, STYLE } from './html-page.js';
import { addressDigits, wordDigits } from '../image/digits.js';
import type { Mapping, Scan } from './mappings.js';
import { counted, findingLines, leafNoun, sizeText, summaryLines, titleLine } from './summary.js';
import type { DumpWriter, Write } from './writer.js';

/** JSON that may stand inside a script element: no `<` can end it. */
const scriptJson = (value: unknown): string => JSON.stringify(value).replaceAll('<', '\\u003c');

/** Bars of how many bytes each level maps, by leaf size. */
function levelBars(tables: RegimeTables, scan: Scan): string {
  const { pageShift, stride } = tables.format.geometry;
  const rows = scan.leaves.flatMap((count, i) =>
    count === 0 ? [] : [{ level: i - 1, count, bytes: count * 2 ** (pageShift + stride * (4 - i)) }],
  );
  const most = Math.max(1, ...rows.map(({ bytes }) => bytes));
  const bar = ({ level, count, bytes }: (typeof rows)[number]): string => {
    const width = Math.max(0.5, (100 * bytes) / most).toFixed(1);
    const text = `${counted(count, leafNoun(level))}, ${sizeText(bytes)}`;
    return `<div class="bar"><span>level ${level}</span><i class="l${level}" style="width:${width}%"></i><b>${text}</b></div>`;
  };
  return `<div class="bars">${rows.map(bar).join('')}</div>`;
}

/** The columns, and a word to search for that has no column. */
function rowOf(mapping: Mapping, print: AddressPrinter): readonly (string | number)[] {
  const { leaf } = mapping;
  const size = mapping.end - mapping.start;
  return [
    print(mapping.start),
    print(mapping.end),
    formatSize(size),
    mapping.level,
    mapping.leaves,
    addressDigits(mapping.output),
    leaf.permissions,
    leaf.type,
    leaf.attributes.join(' '),
    wordDigits(mapping.lo, mapping.hi),
    leaf.write && leaf.execute ? 'wx' : '',
  ];
}

/**
 * One page that needs nothing from anywhere: summary, level bars, and the mappings with a search box. The rows are data that the page's
 * script turns into text nodes, so nothing of an image is ever read as markup.
 */
export function htmlWriter(write: Write): DumpWriter {
  let print: AddressPrinter = addressDigits;
  let table = 0;
  let comma = '';
  return {
    begin() {
      write(`${pageHead('granule dump', STYLE)}<h1>Translation tables</h1>\n`);
      write(
        '<p><input id="q" type="search" placeholder="address inside a mapping, or words: device wx R-X …" autofocus>' +
          '<output id="hits"></output></p>\n',
      );
    },
    beginTable(tables) {
      print = addressPrinter(tables);
      comma = '';
      write(`<h2>${escapeHtml(titleLine(tables))}</h2>\n<div id="s${table}"></div>\n<table id="t${table}"><thead><tr>`);
      const heads = [
        inputName(tables),
        'end',
        'size',
        'level',
        'leaves',
        outputName(tables),
        'permissions',
        'type',
        'attributes',
        'descriptor',
      ];
      write(`${heads.map((head) => `<th>${head}</th>`).join('')}</tr></thead><tbody></tbody></table>\n`);
      write(`<script type="application/json" id="d${table}">[`);
    },
    mapping(mapping) {
      write(`${comma}\n${scriptJson(rowOf(mapping, print))}`);
      comma = ',';
    },
    endTable(tables, scan) {
      const lines = summaryLines(scan).map((line) => `<p>${escapeHtml(line)}</p>`);
      const findings = findingLines(scan).map((line) => `<p class="finding">${escapeHtml(line)}</p>`);
      write(`\n]</script>\n<template id="m${table}">${[...lines, levelBars(tables, scan), ...findings].join('\n')}</template>\n`);
      table++;
    },
    end: () => write(`<script>${CLIENT}</script>\n${PAGE_END}`),
  };
}
