import { ENTRY, type Format, type TlbEntry } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { alignDown } from '@granule/geometry/bits';
import type { Translation } from '@granule/mmu';
import type { Setting } from './setting.js';

/** One descriptor of a walk, as it stood in memory. */
export interface Fetched {
  readonly stage: 1 | 2;
  readonly level: Level;
  readonly pa: number;
  /** Stage 2: the IPA that was being translated; −1 for stage 1. */
  readonly ipa: number;
  readonly lo: number;
  readonly hi: number;
}

/** A TLB entry with the fetches that it stands for: a hit is a walk that takes these from the TLB instead of from memory. */
export interface WalkedEntry extends TlbEntry {
  readonly fetches: readonly Fetched[];
  readonly setting: Setting;
}

type Given = Pick<TlbEntry, 'stage' | 'kind' | 'asid' | 'level' | 'pageShift' | 'input' | 'shift' | 'output'> & Partial<TlbEntry>;

function entryOf(setting: Setting, fetches: readonly Fetched[], given: Given): WalkedEntry {
  const { tlbRegime: regime, vmid } = setting;
  return { regime, vmid, ipa: -1, attributes: 0, shareability: 0, permissions: 0, contiguous: false, ...given, fetches, setting };
}

const kindOf = (format: Format, { lo, hi, level }: Fetched): number => format.kind(lo, hi, level);
/** Leaves without the access flag are not cached (DDI 0487 D8.5.1). */
const isAccessed = (format: Format, { lo, hi }: Fetched): boolean => ((lo & format.numbers.afLo) | (hi & format.numbers.afHi)) !== 0;
const isUsable = (format: Format, fetched: Fetched): boolean => kindOf(format, fetched) === ENTRY.leaf && isAccessed(format, fetched);

const SHAREABILITY = { non: 0, reserved: 1, outer: 2, inner: 3 } as const;

type Traits = Pick<TlbEntry, 'attributes' | 'shareability' | 'permissions'>;

/** What a leaf says of memory and access, whatever access it was walked for: MAIR byte or MemAttr, SH, and the descriptor's attribute bits as they are. */
function traitsOf({ control }: Setting, format: Format, { lo, hi, level }: Fetched): Traits {
  const { attrIndex, shareability } = format.decodeLeaf(lo, hi, level);
  const attributes = format.stage === 1 ? (control.mair[attrIndex] ?? 0) : attrIndex;
  return { attributes, shareability: SHAREABILITY[shareability], permissions: (lo & 0xffc) + (hi >>> 19) * 4096 };
}

/** Both, side by side. */
function bothTraits(one: Traits, two: Traits): Traits {
  return {
    attributes: one.attributes * 16 + two.attributes,
    shareability: one.shareability * 4 + two.shareability,
    permissions: one.permissions * 2 ** 25 + two.permissions,
  };
}

/** Entries of stage 2 alone: what each fetch of one of its walks translates. */
function stage2Entries(setting: Setting, format: Format, walk: readonly Fetched[]): WalkedEntry[] {
  const { granule, pageShift } = format.geometry;
  return walk.flatMap((fetched, index): WalkedEntry[] => {
    const { lo, hi, level, ipa } = fetched;
    const shift = levelShift(granule, level);
    const common = { stage: 'stage2' as const, asid: -1, level, pageShift, input: alignDown(ipa, shift), shift };
    const fetches = walk.slice(0, index + 1);
    if (kindOf(format, fetched) === ENTRY.table) return [entryOf(setting, fetches, { ...common, kind: 'table', output: format.tableOutput(lo, hi) })];
    if (!isUsable(format, fetched)) return [];
    return [entryOf(setting, fetches, { ...common, ...traitsOf(setting, format, fetched), kind: 'leaf', output: format.leafOutput(lo, hi, level) })];
  });
}

/** The end of the stage-2 walk that begins at `from`. */
function endOfStage2(log: readonly Fetched[], from: number): number {
  let end = from;
  while (end < log.length && log[end].stage === 2) end += 1;
  return end;
}

/** A stage-1 fetch that led to another table: with the table's IPA, and with its PA once stage 2 has translated it. */
function tableEntries(setting: Setting, log: readonly Fetched[], at: number, va: number): WalkedEntry[] {
  const format = setting.format1!;
  const { level, lo, hi } = log[at];
  const shift = levelShift(format.geometry.granule, level);
  const output = format.tableOutput(lo, hi);
  // What the tables above limit is part of what is held.
  const permissions = log.slice(0, at + 1).reduce((sum, each) => (each.stage === 1 ? sum | (each.hi >>> 27) : sum), 0);
  const common = { kind: 'table' as const, asid: setting.asid, level, pageShift: format.geometry.pageShift, input: alignDown(va, shift), shift, output, permissions };
  const entries = [entryOf(setting, log.slice(0, at + 1), { ...common, stage: 'stage1' })];
  const end = endOfStage2(log, at + 1);
  if (setting.format2 !== undefined && end < log.length) {
    const { lo: leafLo, hi: leafHi, level: leafLevel } = log[end - 1];
    const translated = setting.format2.leafOutput(leafLo, leafHi, leafLevel);
    entries.push(entryOf(setting, log.slice(0, end), { ...common, stage: 'combined', output: translated }));
  }
  return entries;
}

/** The leaf of stage 1 alone. */
function stage1Leaf(setting: Setting, log: readonly Fetched[], at: number, va: number): WalkedEntry[] {
  const format = setting.format1!;
  const { lo, hi, level } = log[at];
  if (!isAccessed(format, log[at])) return [];
  const shift = levelShift(format.geometry.granule, level);
  const { nG } = format.decodeLeaf(lo, hi, level);
  return [
    entryOf(setting, log.slice(0, at + 1), {
      stage: 'stage1',
      kind: 'leaf',
      asid: nG ? setting.asid : -1,
      level,
      pageShift: format.geometry.pageShift,
      input: alignDown(va, shift),
      shift,
      output: format.leafOutput(lo, hi, level),
      ...traitsOf(setting, format, log[at]),
    }),
  ];
}

/** The whole walk as one: from VA to PA. */
function combinedLeaf(setting: Setting, log: readonly Fetched[], va: number): WalkedEntry[] {
  const { format1, format2 } = setting;
  const last = log[log.length - 1];
  if (format2 === undefined || last.stage !== 2 || !isUsable(format2, last)) return [];
  const first = log.findLast((each) => each.stage === 1);
  if (first === undefined ? setting.control.on : kindOf(format1!, first) !== ENTRY.leaf) return [];
  const shift2 = levelShift(format2.geometry.granule, last.level);
  const shift = first === undefined ? shift2 : Math.min(shift2, levelShift(format1!.geometry.granule, first.level));
  const global = first === undefined || !format1!.decodeLeaf(first.lo, first.hi, first.level).nG;
  const ipa = alignDown(last.ipa, shift);
  const traits = traitsOf(setting, format2, last);
  return [
    entryOf(setting, log, {
      stage: 'combined',
      kind: 'leaf',
      asid: global ? -1 : setting.asid,
      level: (first ?? last).level,
      pageShift: (first === undefined ? format2 : format1!).geometry.pageShift,
      input: alignDown(va, shift),
      shift,
      ipa,
      output: format2.leafOutput(last.lo, last.hi, last.level) + (ipa - alignDown(ipa, shift2)),
      ...(first === undefined ? traits : bothTraits(traitsOf(setting, format1!, first), traits)),
    }),
  ];
}

/**
 * Everything that a TLB may keep of a walk: tables and leaves of either stage and of both combined, as far as the walk came; nothing of what faulted but
 * where permissions alone were missing (DDI 0487 D8.16).
 *
 * @param va as TLBs count it
 */
export function entriesOf(setting: Setting, log: readonly Fetched[], va: number, out: Translation): readonly WalkedEntry[] {
  const { format1, format2 } = setting;
  const entries: WalkedEntry[] = [];
  for (let at = 0; at < log.length; ) {
    if (log[at].stage === 2) {
      const end = endOfStage2(log, at);
      entries.push(...stage2Entries(setting, format2!, log.slice(at, end)));
      at = end;
      continue;
    }
    const kind = kindOf(format1!, log[at]);
    if (kind === ENTRY.table) entries.push(...tableEntries(setting, log, at, va));
    else if (kind === ENTRY.leaf) entries.push(...stage1Leaf(setting, log, at, va));
    at += 1;
  }
  const ended = out.ok || out.fault.type === 'permission';
  if (log.length > 0 && ended) entries.push(...combinedLeaf(setting, log, va));
  return entries;
}
