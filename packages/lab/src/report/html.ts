import { escapeHtml, PAGE_END, pageHead } from '../page/page.js';
import { countColumns, type Counted } from './columns.js';
import { STYLE } from './html-page.js';
import { costPlot, faultPlot, levelPlot, tablesPlot, tlbiPlot } from './plots/report-plots.js';
import { nestedSections } from './nested-text.js';
import type { RunReport, VariantReport } from './report.js';
import {
  bracketLines, descriptions, expectationLine, unknownText, verdictLine, violationLines, wrongReads,
} from './sentences.js';

interface Row extends Counted {
  readonly name: string;
}

const tag = (name: string, content: string, attributes = ''): string => `<${name}${attributes}>${content}</${name}>`;
const paragraph = (text: string, className = ''): string => tag('p', escapeHtml(text), className === '' ? '' : ` class="${className}"`);
const figure = (caption: string, plot: string | undefined): string =>
  plot === undefined ? '' : tag('figure', tag('figcaption', escapeHtml(caption)) + plot);

/** A table; cells are text. The first column and those named in `texts` are left-aligned. */
function table(heads: readonly string[], rows: readonly (readonly string[])[], options: { readonly texts?: readonly number[]; readonly titles?: readonly string[] } = {}): string {
  const { texts = [], titles = [] } = options;
  const cell = (name: string, i: number, content: string): string => {
    const title = name === 'th' && titles[i] !== undefined && titles[i] !== '' ? ` title="${escapeHtml(titles[i])}"` : '';
    return tag(name, escapeHtml(content), (texts.includes(i) ? ' class="text"' : '') + title);
  };
  const head = tag('tr', heads.map((each, i) => cell('th', i, each)).join(''));
  const body = rows.map((row) => tag('tr', row.map((each, i) => cell('td', i, each)).join(''))).join('\n');
  return `<div class="wide">${tag('table', `${tag('thead', head)}\n${tag('tbody', body)}`)}</div>\n`;
}

function countTable(head: string, rows: readonly Row[]): string {
  const { columns, values } = countColumns(rows);
  const cells = values.map((row, i) => [rows[i].name, ...row.map((value) => value.toLocaleString('en'))]);
  return table([head, ...columns.map((column) => column.head)], cells, { titles: ['', ...columns.map(({ meaning }) => meaning)] });
}

function settings(variants: readonly VariantReport[]): string {
  const items = descriptions(variants).map(({ name, texts }) => tag('dt', name) + texts.map((each) => tag('dd', escapeHtml(each))).join(''));
  return tag('dl', items.join('\n'));
}

function costs(report: RunReport): string {
  const { variants, brackets } = report;
  const sections = variants[0].costs.map(({ profile, machine, source }, i) => {
    const lacks = unknownText(variants, i);
    const held = brackets.filter((each) => each.profile === profile).flatMap(bracketLines).map((line) => paragraph(line, 'note'));
    const caption = `${profile}: ${machine}. An open bar is a lower bound.`;
    return figure(caption, costPlot(report, profile)) + held.join('') + paragraph(source, 'soft note') + (lacks === undefined ? '' : paragraph(lacks, 'soft note'));
  });
  return sections.length === 0 ? '' : tag('h2', 'Estimated cost') + sections.join('\n');
}

/** Plots over the phases, where there are several. */
function overTheRun(variants: readonly VariantReport[]): string {
  const long = variants.filter(({ phases }) => phases.length > 1);
  if (long.length === 0) {
    return '';
  }
  const each = (caption: string, plot: (variant: VariantReport) => string | undefined): string =>
    long.map((variant) => figure(variants.length === 1 ? caption : `${caption}: ${variant.name}`, plot(variant))).join('');
  const tables = figure('Table pages at the end of each phase', tablesPlot(long));
  const rows = [each('Faults', faultPlot), each('Mapped at the end of each phase, by level', levelPlot), tables].filter((row) => row !== '');
  return tag('h2', 'Over the run') + rows.map((row) => tag('div', row, ' class="row"')).join('\n');
}

function phases(variants: readonly VariantReport[]): string {
  const long = variants.filter((variant) => variant.phases.length > 1);
  const tables = long.map((variant) => (variants.length === 1 ? '' : tag('h3', escapeHtml(variant.name))) + countTable('phase', variant.phases));
  return long.length === 0 ? '' : tag('details', tag('summary', tag('h2', 'Phases')) + tables.join(''), variants.length === 1 ? ' open' : '');
}

function findings(variants: readonly VariantReport[]): string {
  const several = variants.length > 1;
  const lines = variants.flatMap((variant) => {
    const prefix = several ? `${variant.name}: ` : '';
    const { violations, moreViolations, expectations, stopped, notes } = variant;
    return [
      ...wrongReads(variant).map((each) => paragraph(prefix + each)),
      ...violationLines(violations).map(({ text, expected }) => paragraph(prefix + text, expected ? '' : 'finding')),
      ...(moreViolations === 0 ? [] : [paragraph(`${prefix}${moreViolations.toLocaleString('en')} more violations`, 'finding')]),
      ...expectations.filter(({ passed }) => !passed).map((each) => paragraph(prefix + expectationLine(each), 'finding')),
      ...(stopped === undefined ? [] : [paragraph(`${prefix}stopped in ${stopped.phase}: ${stopped.id}: ${stopped.sentence} (${stopped.source})`, 'finding')]),
      ...notes.map((note) => paragraph(prefix + note, 'soft')),
    ];
  });
  return lines.length === 0 ? '' : tag('h2', 'Findings') + lines.join('\n');
}

function shadows(variants: readonly VariantReport[]): string {
  const sections = nestedSections(variants).map(({ head, contexts, chains }) => {
    const asked = chains.map((each) => paragraph(each.head) + tag('ul', each.lines.map((line) => tag('li', escapeHtml(line))).join('')));
    return tag('h3', escapeHtml(head)) + tag('ul', contexts.map((each) => tag('li', escapeHtml(each))).join('')) + asked.join('');
  });
  return sections.length === 0 ? '' : tag('h2', 'Shadow stage 2s') + sections.join('\n');
}

function readTable(variants: readonly VariantReport[]): string {
  const rows = variants.flatMap(({ name, reads }) =>
    reads.map(({ phase, pe, vcpu, address, bytes, value, expected = '' }) => [name, phase, `${vcpu}`, `${pe}`, address, `${bytes}`, value, expected]),
  );
  const more = variants.reduce((sum, { moreReads }) => sum + moreReads, 0);
  const rest = more === 0 ? '' : paragraph(`and ${more.toLocaleString('en')} more`, 'soft');
  const heads = ['variant', 'phase', 'vCPU', 'PE', 'address', 'bytes', 'value', 'expected'];
  return rows.length === 0 ? '' : tag('details', tag('summary', tag('h2', 'What guests read')) + table(heads, rows, { texts: [1] }) + rest);
}

function expectationTable(variants: readonly VariantReport[]): string {
  const rows = variants.flatMap(({ name, expectations }) =>
    expectations.map(({ phase = '', what, expected, actual, passed, source = '' }) => [name, phase, what, expected, actual, passed ? 'yes' : 'NO', source]),
  );
  const heads = ['variant', 'phase', 'what', 'expected', 'came', 'kept', 'source'];
  return rows.length === 0 ? '' : tag('details', tag('summary', tag('h2', 'Expectations')) + table(heads, rows, { texts: [1, 2, 6] }));
}

/** One page that needs nothing from anywhere, with plots as SVG. Whatever the report says is escaped. */
export function reportHtml(report: RunReport): string {
  const { scenario, variants, clean } = report;
  return [
    `${pageHead(`${scenario.name} — granule`, STYLE)}<h1>${escapeHtml(scenario.name)}</h1>`,
    scenario.question === undefined ? '' : paragraph(scenario.question),
    paragraph(verdictLine(report), `verdict ${clean ? 'clean' : 'finding'}`),
    settings(variants),
    tag('h2', variants.length === 1 ? 'Counts' : 'Variants'),
    countTable(variants.length === 1 ? 'run' : 'variant', variants),
    findings(variants),
    shadows(variants),
    figure('TLB invalidations', tlbiPlot(variants)),
    costs(report),
    overTheRun(variants),
    phases(variants),
    readTable(variants),
    expectationTable(variants),
    scenario.sources.length === 0 ? '' : tag('h2', 'Sources') + scenario.sources.map((source) => paragraph(source, 'soft')).join(''),
    PAGE_END,
  ].filter((part) => part !== '').join('\n');
}
