import type { Attributes, TableAttributes } from '@granule/contract';
import type { Level } from '@granule/geometry';
import type { RegimeTables } from '../image/regime-tables.js';

/** What a leaf says, in the words that every output uses. Permissions are effective: those of the tables above are counted in. */
export interface Leaf {
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  /** `R-X`; where two exception levels differ, `EL0/R-- EL1/RW-`. */
  readonly permissions: string;
  /** Memory type by name. */
  readonly type: string;
  /** Names as in the kernel's dump: `AF SH-inner NG CON BLK …`. */
  readonly attributes: readonly string[];
  readonly device: boolean;
  readonly accessed: boolean;
  /** EL0 may read, write or execute. */
  readonly user: boolean;
}

/** What the words of a leaf depend on besides its bits. */
export type LeafSetting = Pick<RegimeTables, 'format' | 'wxn' | 'uwxn'>;

/** Hierarchical attributes of the tables above a leaf, joined, as a small number: 0 takes nothing away. */
export type Inherited = number;

export const NO_LIMITS: Inherited = 0;
const NO_USER = 1;
const NO_WRITE = 2;
const NO_UX = 4;
const NO_PX = 8;

/** What a table descriptor adds to the limits of those above it (DDI 0487 D8.4.1.2). */
export function inherit(above: Inherited, table: TableAttributes): Inherited {
  return above | (table.apTable & 3) | (table.uxnTable ? NO_UX : 0) | (table.pxnTable ? NO_PX : 0);
}

interface Access {
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
}

function letters(access: Access): string {
  return (access.read ? 'R' : '-') + (access.write ? 'W' : '-') + (access.execute ? 'X' : '-');
}

interface Levels {
  /** EL0, or nothing for a regime of one exception level. */
  readonly el0: Access;
  readonly high: Access;
}

/** Stage 2: S2AP and XN hold for both levels, but XN may tell EL1 from EL0 (FEAT_XNX). */
function stage2Access(a: Attributes): Levels {
  return { el0: { read: a.read, write: a.write, execute: a.ux }, high: { read: a.read, write: a.write, execute: a.px } };
}

/**
 * Stage 1 (DDI 0487 D8.4.1; DDI 0406C B3.7): what EL0 may write is not executable above it (PL1&0: with SCTLR.UWXN); WXN makes everything
 * writable not executable; PL0 executes only what it may read.
 */
function stage1Access(a: Attributes, above: Inherited, { format, wxn, uwxn }: LeafSetting, oneLevel: boolean): Levels {
  const write = a.write && (above & NO_WRITE) === 0;
  const user = a.user && (above & NO_USER) === 0;
  const userWrite = user && write;
  const fetch = user || format.regime !== 'pl10';
  const el0 = { read: user, write: userWrite, execute: fetch && a.ux && (above & NO_UX) === 0 && !(wxn && userWrite) };
  const noExecute = oneLevel ? NO_UX : NO_PX;
  const execute = a.px && (above & noExecute) === 0 && !(wxn && write) && (oneLevel || !uwxn || !userWrite);
  return { el0, high: { read: true, write, execute } };
}

function attributeNames(a: Attributes, level: Level): readonly string[] {
  const names: [string, boolean][] = [
    ['AF', a.af],
    [`SH-${a.shareability}`, a.shareability !== 'non'],
    ['NG', a.nG],
    ['CON', a.contiguous],
    ['BLK', level < 3],
    ['DBM', a.dbm],
    ['GP', a.gp],
    ['NS', a.ns],
    [`SW=${a.software}`, a.software !== 0],
  ];
  return names.filter(([, present]) => present).map(([name]) => name);
}

function leafOf(tables: LeafSetting, lo: number, hi: number, level: Level, above: Inherited): Leaf {
  const { format } = tables;
  const a = format.decodeLeaf(lo, hi, level);
  const oneLevel = format.regime === 'el2' || format.regime === 'pl2';
  const { el0, high } = format.stage === 2 ? stage2Access(a) : stage1Access(a, above, tables, oneLevel);
  const same = letters(el0) === letters(high);
  const privileged = format.regime.startsWith('pl') ? 'PL1' : format.regime === 'el20' ? 'EL2' : 'EL1';
  const unprivileged = format.regime.startsWith('pl') ? 'PL0' : 'EL0';
  return {
    read: high.read || (!oneLevel && el0.read),
    write: high.write || (!oneLevel && el0.write),
    execute: high.execute || (!oneLevel && el0.execute),
    permissions: oneLevel || same ? letters(high) : `${unprivileged}/${letters(el0)} ${privileged}/${letters(high)}`,
    type: a.memory,
    attributes: attributeNames(a, level),
    device: a.memory.startsWith('device'),
    accessed: a.af,
    user: !oneLevel && (el0.read || el0.write || el0.execute),
  };
}

/** Slots of the cache in front of the map of known leaves; a power of two. */
const SLOTS = 16;

/** Describes leaves of one table. Tables have few kinds of leaf: each is described once, and equal leaves are the same object. */
export function leafDescriber(tables: LeafSetting): (lo: number, hi: number, level: Level, above: Inherited) => Leaf {
  const known = new Map<string, Leaf>();
  const { leafOaLo, leafOaHi, oaTopBits, oaTopLsb } = tables.format.numbers;
  const top = oaTopBits === 0 ? 0 : ((1 << oaTopBits) - 1) << oaTopLsb;
  const recent: (Leaf | undefined)[] = Array.from({ length: SLOTS });
  const recentBits = new Int32Array(3 * SLOTS);
  return (lo, hi, level, above) => {
    const bitsLo = lo & ~(leafOaLo[level + 1] | top);
    const bitsHi = hi & ~leafOaHi[level + 1];
    const place = above * 8 + level + 1;
    const slot = (bitsLo ^ (bitsLo >>> 6) ^ (bitsHi >>> 20)) & (SLOTS - 1);
    const found = recent[slot];
    if (
      found !== undefined &&
      recentBits[3 * slot] === bitsLo &&
      recentBits[3 * slot + 1] === bitsHi &&
      recentBits[3 * slot + 2] === place
    ) {
      return found;
    }
    const key = `${place} ${bitsHi} ${bitsLo}`;
    const leaf = known.get(key) ?? leafOf(tables, lo, hi, level, above);
    known.set(key, leaf);
    recent[slot] = leaf;
    recentBits.set([bitsLo, bitsHi, place], 3 * slot);
    return leaf;
  };
}
