import type { EntryKind } from '@granule/contract';
import { ENTRY } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import { levelIndex } from '@granule/contract';
import type { Table } from './table.js';
import { emitSteps, mapMaintenance, writeEntry } from './table.js';
import { tableWord } from './walk.js';

/** Duties that a caller may skip by name; each flag skips exactly what it names. */
export interface Skip {
  readonly tlbi?: boolean;
  readonly cmo?: boolean;
}

const NOTHING: Skip = {};

/**
 * Replaces one entry by another, breaking the old one first where it is valid: the `locked` marker is written, the old translation
 * invalidated (a leaf by its level, a table by the range that it spans, because every leaf below it may be cached), then the new entry is
 * cleaned for and stored with release. An invalid entry needs no break. A replaced table's subtree is zeroed and given back after that.
 *
 * Source: DDI 0487 D8.17.1 (break-before-make); Linux stage2_try_break_pte, stage2_make_pte (arch/arm64/kvm/hyp/pgtable.c).
 */
export function replaceEntry(
  t: Table,
  word: number,
  level: Level,
  address: InputAddress,
  lo: number,
  hi: number,
  skip: Skip = NOTHING,
): void {
  const words = t.memory.words;
  const oldLo = words[word];
  const oldHi = words[word + 1];
  const oldKind = t.format.kind(oldLo, oldHi, level);
  if (oldKind === ENTRY.leaf || oldKind === ENTRY.table) {
    breakEntry(t, word, level, address, oldKind, skip);
  }
  makeEntry(t, word, level, address, lo, hi, skip);
  if (oldKind === ENTRY.table) {
    freeSubtree(t, tableWord(t.memory, t.plan, oldLo, oldHi), (level + 1) as Level, true);
  }
}

function breakEntry(t: Table, word: number, level: Level, address: InputAddress, kind: EntryKind, skip: Skip): void {
  const { format, plan, sink } = t;
  if (sink === undefined) {
    return;
  }
  writeEntry(t, word, format.locked.lo, format.locked.hi, level, address, false);
  if (skip.tlbi === true) {
    return;
  }
  const span = plan.span[levelIndex(level)];
  if (kind === ENTRY.leaf) {
    emitSteps(t, format.tlbi.leaf, address, level, span);
    return;
  }
  if (format.stage === 2) {
    emitSteps(t, format.tlbi.range, address, undefined, span);
  } else if (level === 2) {
    // The range operation of stage 1 is for last-level entries alone: the table's own entry needs the other kind, and first, since a walk cache that has it
    // lets the leaves below in again.
    emitSteps(t, format.tlbi.table, address, undefined, span);
    emitSteps(t, format.tlbi.range, address, undefined, span);
  } else {
    // Walk caches may hold entries of every table below, and no operation names them but one by one.
    emitSteps(t, format.tlbi.all, address, undefined, span);
  }
}

function makeEntry(t: Table, word: number, level: Level, address: InputAddress, lo: number, hi: number, skip: Skip): void {
  const leaf = t.format.kind(lo, hi, level) === ENTRY.leaf;
  const before = leaf && skip.cmo !== true ? mapMaintenance(t, lo, hi, level, t.plan.span[levelIndex(level)]) : undefined;
  writeEntry(t, word, lo, hi, level, address, true, before);
}

/**
 * Zeroes a table that no walk can reach any more, and all below it, and gives the pages back. `deferred` says that the pages are freed
 * after a grace period (Linux: RCU).
 */
export function freeSubtree(t: Table, table: number, level: Level, deferred: boolean): void {
  zeroTable(t, table, level, deferred);
  t.givePage(table, deferred);
}

/** Frees everything below a table and zeroes it; level-3 tables are zeroed unread. */
export function zeroTable(t: Table, table: number, level: Level, deferred: boolean): void {
  const { plan, memory } = t;
  const li = levelIndex(level);
  for (let i = 0; level < 3 && i < plan.tableEntries; i++) {
    const at = table + 2 * i;
    const lo = memory.words[at];
    if ((lo & plan.typeMask[li]) === plan.tableType[li]) {
      freeSubtree(t, tableWord(memory, plan, lo, memory.words[at + 1]), (level + 1) as Level, deferred);
    }
  }
  memory.words.fill(0, table, table + plan.pageWords);
}

/**
 * Installs an empty table in place of what is there (zero, annotated or leaf); what a leaf mapped is no longer mapped. Answers the new
 * table's first word.
 */
export function installTable(t: Table, word: number, level: Level, address: InputAddress, skip: Skip = NOTHING): number {
  const child = t.takePage();
  const entry = t.descriptorFor(child, t.tableBits);
  replaceEntry(t, word, level, address, entry.lo, entry.hi, skip);
  return child;
}
