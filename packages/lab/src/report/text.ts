import { countColumns, type Counted, happened } from './columns.js';
import { nestedSections } from './nested-text.js';
import type { RunReport, VariantReport } from './report.js';
import {
  bracketLines, costText, descriptions, expectationLine, unknownText, verdictLine, violationLines, wrongReads,
} from './sentences.js';

interface Row extends Counted {
  readonly name: string;
}

/** Cells in columns: the first left-aligned, the others right. */
function aligned(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ').trimEnd());
}

function countTable(head: string, rows: readonly Row[]): readonly string[] {
  const { columns, values } = countColumns(rows);
  const cells = values.map((row, i) => [rows[i].name, ...row.map((value) => value.toLocaleString('en'))]);
  return aligned([[head, ...columns.map((column) => column.head)], ...cells]);
}

function describe(variants: readonly VariantReport[]): readonly string[] {
  return descriptions(variants).flatMap(({ name, texts }) => texts.map((text) => `${name.padEnd(9)} ${text}`));
}

/** The counts: a single run by phases; several variants in all, and in a table for each phase in which something happens. */
function countTables(variants: readonly VariantReport[]): readonly string[] {
  if (variants.length === 1) {
    const [{ phases, counts, tables }] = variants;
    const busy = phases.filter(happened);
    return busy.length < 2 ? countTable('', [{ name: 'the run', counts, tables }]) : countTable('phase', [...busy, { name: 'all', counts, tables }]);
  }
  const names = [...new Set(variants.flatMap(({ phases }) => phases.map(({ name }) => name)))];
  const tables = names.map((name) => ({
    name,
    rows: variants.flatMap((variant) => variant.phases.filter((phase) => phase.name === name).map((phase) => ({ ...phase, name: variant.name }))),
  }));
  const busy = tables.filter(({ rows }) => rows.some(happened));
  return [...countTable('variant', variants), ...(busy.length < 2 ? [] : busy.flatMap(({ name, rows }) => ['', ...countTable(name, rows)]))];
}

function costTable(variants: readonly VariantReport[]): readonly string[] {
  const profiles = variants[0].costs;
  if (profiles.length === 0) {
    return [];
  }
  const rows = variants.map(({ name, costs }) => [name, ...costs.map(costText)]);
  const notes = profiles.flatMap(({ profile, machine, source }, i) => {
    const lacks = unknownText(variants, i);
    return [`${profile}: ${machine}. ${source}`, ...(lacks === undefined ? [] : [`  ${lacks}`])];
  });
  return ['', ...aligned([['cost', ...profiles.map(({ profile }) => profile)], ...rows]), ...notes];
}

/** What is about one variant alone: what its guests read, what was broken, what did not come as expected. */
function findings(variant: VariantReport, several: boolean): readonly string[] {
  const { violations, moreViolations, expectations, stopped, notes } = variant;
  const prefix = several ? `${variant.name}: ` : '';
  const more = moreViolations === 0 ? [] : [`! ${prefix}${moreViolations.toLocaleString('en')} more violations`];
  return [
    ...wrongReads(variant).map((each) => `  ${prefix}${each}`),
    ...violationLines(violations).map(({ text, expected }) => `${expected ? ' ' : '!'} ${prefix}${text}`),
    ...more,
    ...expectations.filter(({ passed }) => !passed).map((each) => `! ${prefix}${expectationLine(each)}`),
    ...(stopped === undefined ? [] : [`! ${prefix}stopped in ${stopped.phase}: ${stopped.id}: ${stopped.sentence} (${stopped.source})`]),
    ...notes.map((note) => `  ${prefix}${note}`),
  ];
}

function shadows(variants: readonly VariantReport[]): readonly string[] {
  return nestedSections(variants).flatMap(({ head, contexts, chains }) => [
    '',
    head,
    ...contexts.map((each) => `  ${each}`),
    ...chains.flatMap((each) => [`  ${each.head}`, ...each.lines.map((line) => `    ${line}`)]),
  ]);
}

/** The report as text; the last line is the verdict. */
export function reportText(report: RunReport): string {
  const { scenario, variants, brackets } = report;
  const found = variants.flatMap((variant) => findings(variant, variants.length > 1));
  const lines = [
    scenario.name,
    ...(scenario.question === undefined ? [] : [scenario.question]),
    '',
    ...describe(variants),
    '',
    ...countTables(variants),
    ...costTable(variants),
    ...brackets.flatMap((each) => ['', ...bracketLines(each)]),
    ...shadows(variants),
    ...(found.length === 0 ? [] : ['', ...found]),
    ...(scenario.sources.length === 0 ? [] : ['', ...scenario.sources.map((source) => `source    ${source}`)]),
    '',
    verdictLine(report),
  ];
  return `${lines.join('\n')}\n`;
}
