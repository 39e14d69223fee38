import { formatSize } from '@granule/geometry/bits';
import type { RegimeTables } from '../image/regime-tables.js';
import type { Scan } from './mappings.js';

/** `1 page`, `2 pages`. */
export function counted(count: number, noun: string, plural = `${noun}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? noun : plural}`;
}

export function leafNoun(level: number): 'page' | 'block' {
  return level === 3 ? 'page' : 'block';
}

/** Bytes for people: exact where a unit divides them, else with two decimals. */
export function sizeText(bytes: number): string {
  const exact = formatSize(bytes);
  if (exact.length <= 6) {
    return exact;
  }
  const unit = Math.min(4, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 2 ** (10 * unit)).toFixed(2)}${['', 'K', 'M', 'G', 'T'][unit]}`;
}

const perLevel = (counts: readonly number[], text: (level: number, count: number) => string): string =>
  counts.flatMap((count, i) => (count === 0 ? [] : [text(i - 1, count)])).join(', ');

/** What a table holds, in two lines. */
export function summaryLines(scan: Scan): readonly string[] {
  const leaves = scan.leaves.reduce((sum, each) => sum + each, 0);
  const tables = scan.tables.reduce((sum, each) => sum + each, 0);
  const kinds = perLevel(scan.leaves, (level, count) => `level ${level}: ${counted(count, leafNoun(level))}`);
  const all = `${counted(leaves, 'leaf', 'leaves')} in ${counted(scan.mappings, 'mapping')}`;
  const lines = [
    `${all}, ${sizeText(scan.bytesMapped)} mapped${kinds === '' ? '' : `; ${kinds}`}`,
    `${counted(tables, 'table')}, ${sizeText(scan.bytesOfTables)}; ${perLevel(scan.tables, (level, count) => `level ${level}: ${count}`)}`,
  ];
  if (scan.annotated > 0) {
    lines.push(`${counted(scan.annotated, 'invalid entry', 'invalid entries')} with something in them`);
  }
  return lines;
}

/** The findings, one a line, `!` in front. */
export function findingLines(scan: Scan): readonly string[] {
  const lines = scan.findings.map(({ sentence }) => `! ${sentence}`);
  return scan.moreFindings === 0 ? lines : [...lines, `! ${scan.moreFindings} more findings of these kinds.`];
}

/** Which table it is, in one line. */
export function titleLine(tables: RegimeTables): string {
  const { geometry, upper } = tables.format;
  const range = geometry.stage === 2 ? 'IPA' : upper ? 'upper VA range' : 'VA';
  const entry = geometry.entryTables === 1 ? '' : `, ${geometry.entryTables} concatenated entry tables`;
  const through = tables.through === undefined ? '' : `, its addresses are IPAs of ${tables.through.name}`;
  const shape = `${geometry.granule} granule, ${geometry.iaBits}-bit ${range}, start level ${geometry.startLevel}`;
  return `${tables.name} (${tables.from}): ${shape}${entry}${through}`;
}
