import type { Change, Outcome } from '@granule/contract';
import { DONE, ENTRY, done, levelIndex, retry } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import { hex } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import { changeHalves } from './leaf-runs.js';
import { lookup, newLookup } from './lookup.js';
import type { Table } from './table.js';
import { emitSteps, emitWrite, rangeOf, writeEntry } from './table.js';
import type { Run, Visitor } from './walk.js';
import { STOP, walk } from './walk.js';

/** Applies one change to every leaf that meets the range. */
class ChangeLeaves implements Visitor {
  constructor(
    private readonly t: Table,
    private readonly change: Change,
  ) {}

  visit(run: Run): number {
    if (run.kind === ENTRY.leaf) {
      changeRun(this.t, run, this.change);
    }
    return run.count;
  }
}

/** Answers whether any leaf of the run had one of the bits that the change clears. */
function changeRun(t: Table, run: Run, change: Change): boolean {
  const { words } = t.memory;
  const { loClear, loSet, hiClear, hiSet } = change;
  const old = t.sink === undefined ? undefined : words.slice(run.word, run.word + 2 * run.count);
  const lo = (loClear | loSet) === 0 ? 0 : changeHalves(words, run.word, run.count, loClear, loSet);
  const hi = (hiClear | hiSet) === 0 ? 0 : changeHalves(words, run.word + 1, run.count, hiClear, hiSet);
  if (old !== undefined) {
    emitChanged(t, run, old);
  }
  return ((lo & loClear) | (hi & hiClear)) !== 0;
}

/**
 * Entries that already were as wanted were not written (Linux stage2_attr_walker), so the writes are told as runs of those that changed.
 */
function emitChanged(t: Table, run: Run, old: Uint32Array): void {
  const { words } = t.memory;
  const span = t.plan.span[levelIndex(run.level)];
  const changed = (i: number): boolean => old[2 * i] !== words[run.word + 2 * i] || old[2 * i + 1] !== words[run.word + 2 * i + 1];
  for (let i = 0; i < run.count; i++) {
    if (!changed(i)) {
      continue;
    }
    const first = i;
    while (i < run.count && changed(i)) {
      i++;
    }
    emitWrite(t, run.word + 2 * first, i - first, run.level, run.address + first * span, old.slice(2 * first, 2 * i));
  }
}

/**
 * Takes write permission away from every leaf that meets the range, blocks whole. TLB: the caller owes the invalidation (Linux: the
 * memslot's flush), in one for the range. Source: kvm_pgtable_stage2_wrprotect.
 */
export function writeProtect(t: Table, ia: InputAddress, size: number): Outcome<undefined> {
  const range = rangeOf(t.plan, ia, size);
  if ('kind' in range) {
    return range;
  }
  return walk(t, range.start, range.end, new ChangeLeaves(t, t.plan.writeProtect)) ?? DONE;
}

class Age implements Visitor {
  young = false;

  constructor(
    private readonly t: Table,
    private readonly clear: boolean,
    private readonly change: Change,
  ) {}

  visit(run: Run): number {
    if (run.kind !== ENTRY.leaf) {
      return run.count;
    }
    if (this.clear) {
      this.young = changeRun(this.t, run, this.change) || this.young;
      return run.count;
    }
    const { loClear, hiClear } = this.change;
    const { words } = this.t.memory;
    for (let word = run.word; word < run.word + 2 * run.count; word += 2) {
      if (((words[word] & loClear) | (words[word + 1] & hiClear)) !== 0) {
        this.young = true;
        return STOP;
      }
    }
    return run.count;
  }
}

/**
 * Whether any leaf that meets the range has been accessed since its flag was last cleared; `clear` clears the flags. No invalidation: a
 * stale TLB entry only loses an access (Linux kvm_pgtable_stage2_test_clear_young).
 */
export function age(t: Table, ia: InputAddress, size: number, clear: boolean): Outcome<boolean> {
  const range = rangeOf(t.plan, ia, size);
  if ('kind' in range) {
    return range;
  }
  const { afLo, afHi } = t.plan;
  const visitor = new Age(t, clear, { loClear: afLo, loSet: 0, hiClear: afHi, hiSet: 0 });
  return walk(t, range.start, range.end, visitor) ?? done(visitor.young);
}

/**
 * Changes the one leaf that maps `ia` in place; `retry` where there is none (Linux stage2_attr_walker: -EAGAIN). Answers the leaf's level.
 */
function changeLeafAt(t: Table, ia: InputAddress, change: Change, executes: boolean): Outcome<Level> {
  const range = rangeOf(t.plan, ia, 1);
  if ('kind' in range) {
    return range;
  }
  const at = newLookup();
  if (!lookup(t, range.start, at) || at.kind !== ENTRY.leaf) {
    return retry('leaf.none', `${hex(range.start)} maps nothing.`, 'Linux stage2_attr_walker: -EAGAIN');
  }
  const lo = ((at.lo & ~change.loClear) | change.loSet) >>> 0;
  const hi = ((at.hi & ~change.hiClear) | change.hiSet) >>> 0;
  if (lo !== at.lo || hi !== at.hi) {
    const li = levelIndex(at.level);
    const address = Math.floor(range.start * t.plan.inverse[li]) * t.plan.span[li];
    writeEntry(
      t,
      at.word,
      lo,
      hi,
      at.level,
      address,
      false,
      executes ? executableMaintenance(t, at.lo, at.hi, lo, hi, at.level) : undefined,
    );
  }
  return done(at.level);
}

/** A leaf that becomes executable owes the instruction cache its content first (Linux stage2_attr_walker). */
function executableMaintenance(t: Table, oldLo: number, oldHi: number, lo: number, hi: number, level: Level) {
  if (t.sink === undefined || t.coherence.dic === true || t.format.stage === 1) {
    return undefined;
  }
  const was = t.format.decodeLeaf(oldLo, oldHi, level);
  const is = t.format.decodeLeaf(lo, hi, level);
  if (was.px || was.ux || !(is.px || is.ux)) {
    return undefined;
  }
  return [
    { type: 'cmo', op: 'ic-ivau', to: 'pou', address: t.plan.leafOutput(lo, hi, levelIndex(level)), bytes: t.plan.span[levelIndex(level)] },
  ] as const;
}

/**
 * Sets the access flag of the leaf that maps `ia`; ends with DSB ISHST, no invalidation (a faulting entry is not cached). Source:
 * kvm_pgtable_stage2_mkyoung.
 */
export function makeYoung(t: Table, ia: InputAddress): Outcome<undefined> {
  const { afLo, afHi } = t.plan;
  const changed = changeLeafAt(t, ia, { loClear: 0, loSet: afLo, hiClear: 0, hiSet: afHi }, false);
  if (changed.kind === 'done') {
    t.sink?.effect({ type: 'dsb', domain: 'ishst' });
    return DONE;
  }
  return changed;
}

/**
 * Adds permissions to the leaf that maps `ia`, in place; never takes read or write away, sets execution exactly where it is named. Then
 * invalidates that IPA on this PE alone, also where the leaf was gone (retry): another PE that still holds the old entry faults and comes
 * here too. Where execution is named false, every PE is invalidated instead, because a right may have gone.
 * Source: kvm_pgtable_stage2_relax_perms (which invalidates locally in both cases).
 */
export function relaxPermissions(
  t: Table,
  ia: InputAddress,
  add: { readonly read?: boolean; readonly write?: boolean; readonly px?: boolean; readonly ux?: boolean },
): Outcome<undefined> {
  const change = t.format.relax(add);
  if (change.kind !== 'done') {
    return change;
  }
  const changed = changeLeafAt(t, ia, change.value, true);
  if (changed.kind !== 'done' && changed.kind !== 'retry') {
    return changed;
  }
  const takesExecution = changed.kind === 'done' && (add.px === false || add.ux === false);
  const sequence = takesExecution ? t.format.tlbi.leaf : t.format.tlbi.leafLocal;
  emitSteps(t, sequence, ia, changed.kind === 'done' ? changed.value : undefined, t.plan.pageBytes);
  return changed.kind === 'done' ? DONE : changed;
}

/**
 * Cleans and invalidates to PoC every cacheable leaf that meets the range, each whole; nothing with FEAT_S2FWB. Source:
 * kvm_pgtable_stage2_flush.
 */
export function flush(t: Table, ia: InputAddress, size: number): Outcome<undefined> {
  const range = rangeOf(t.plan, ia, size);
  if ('kind' in range) {
    return range;
  }
  if (t.sink === undefined || t.coherence.fwb === true) {
    return DONE;
  }
  return walk(t, range.start, range.end, new Flush(t)) ?? DONE;
}

class Flush implements Visitor {
  constructor(private readonly t: Table) {}

  visit(run: Run): number {
    const { t } = this;
    const bytes = t.plan.span[levelIndex(run.level)];
    for (let i = 0; run.kind === ENTRY.leaf && i < run.count; i++) {
      const lo = t.memory.words[run.word + 2 * i];
      const hi = t.memory.words[run.word + 2 * i + 1];
      if (t.format.decodeLeaf(lo, hi, run.level).memory === 'normal') {
        t.sink?.effect({ type: 'cmo', op: 'dc-civac', to: 'poc', address: t.plan.leafOutput(lo, hi, levelIndex(run.level)), bytes });
      }
    }
    return run.count;
  }
}
