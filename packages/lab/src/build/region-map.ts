import { type MemoryType, type Outcome, done, refused } from '@granule/contract';
import { hex, type InputAddress, type OutputAddress, parseAddress, parseSize } from '@granule/geometry/bits';

/** What a region's memory is, in the words of a dump. */
export interface RegionType {
  /** `RW-`. */
  readonly permissions: string;
  readonly memory: MemoryType;
}

/** One line of a region map. */
export interface Region {
  /** Of the text, from 1. */
  readonly line: number;
  readonly start: InputAddress;
  /** Bytes, above zero. */
  readonly size: number;
  readonly output: OutputAddress;
  readonly type: RegionType;
  readonly label: string;
}

/** Types by name; besides them a type is permissions and a memory type, as a dump prints them: `R-X normal`. */
export const REGION_TYPES: Readonly<Record<string, RegionType>> = {
  DEVICE: { permissions: 'RW-', memory: 'device-nGnRnE' },
  RW_DATA: { permissions: 'RW-', memory: 'normal' },
  RO_DATA: { permissions: 'R--', memory: 'normal' },
  CODE: { permissions: 'R-X', memory: 'normal' },
  NORMAL: { permissions: 'RWX', memory: 'normal' },
};

const MEMORY_TYPES: ReadonlySet<string> = new Set<MemoryType>([
  'device-nGnRnE', 'device-nGnRE', 'device-nGRE', 'device-GRE', 'normal', 'normal-nc', 'normal-wt',
]);

const SOURCE = 'region map, CSV ADDRESS, LENGTH, TYPE, LABEL';

const wrong = (line: number, sentence: string): Outcome<never> => refused('map.line', `Line ${line}: ${sentence}`, SOURCE);

function typeOf(text: string): RegionType | undefined {
  const name = text.toUpperCase();
  if (Object.hasOwn(REGION_TYPES, name)) {
    return REGION_TYPES[name];
  }
  const [permissions = '', memory = '', ...rest] = text.split(/\s+/u);
  const known = /^[R-][W-][X-]$/u.test(permissions) && MEMORY_TYPES.has(memory) && rest.length === 0;
  return known ? { permissions, memory: memory as MemoryType } : undefined;
}

function regionOf(line: number, cells: readonly string[]): Outcome<Region> {
  const [address = '', length = '', kind = '', label = '', to = address] = cells;
  if (cells.length < 3 || cells.length > 5) {
    return wrong(line, `There are ${cells.length} columns; a region has ADDRESS, LENGTH, TYPE, LABEL and, where it is not mapped to itself, OUTPUT.`);
  }
  const start = parseAddress(address);
  const size = parseSize(length);
  const output = parseAddress(to);
  const type = typeOf(kind);
  if (start === undefined) return wrong(line, `The ADDRESS ${address} is not an address below 2^52.`);
  if (size === undefined || size === 0) return wrong(line, `The LENGTH ${length} is not a size above zero (0x…, decimal, or with K, M, G, T).`);
  if (type === undefined) {
    return wrong(line, `The TYPE ${kind} is neither one of ${Object.keys(REGION_TYPES).join(', ')} nor permissions and a memory type such as R-X normal.`);
  }
  if (output === undefined) return wrong(line, `The OUTPUT ${to} is not an address below 2^52.`);
  return done({ line, start, size, output, type, label });
}

function overlapOf(regions: readonly Region[]): Outcome<never> | undefined {
  const sorted = [...regions].sort((a, b) => a.start - b.start);
  for (const [i, { start, line }] of sorted.entries()) {
    const before = sorted[i - 1] as Region | undefined;
    if (before !== undefined && start < before.start + before.size) {
      return wrong(Math.max(line, before.line), `The region overlaps the one of line ${Math.min(line, before.line)} at ${hex(start)}.`);
    }
  }
  return undefined;
}

/**
 * A region map: CSV lines `ADDRESS, LENGTH, TYPE, LABEL[, OUTPUT]`; blank lines, lines that begin with `#` and a heading are passed over. Without OUTPUT a
 * region is mapped to itself. Refused: `map.line` with the number of the line, `map.empty`.
 */
export function readRegionMap(text: string): Outcome<readonly Region[]> {
  const regions: Region[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const cells = line.split(',').map((cell) => cell.trim());
    if (line.trim() === '' || cells[0].startsWith('#') || cells[0].toUpperCase() === 'ADDRESS') {
      continue;
    }
    const region = regionOf(index + 1, cells);
    if (region.kind !== 'done') {
      return region;
    }
    regions.push(region.value);
  }
  return regions.length === 0 ? refused('map.empty', 'The region map has no region.', SOURCE) : (overlapOf(regions) ?? done(regions));
}
