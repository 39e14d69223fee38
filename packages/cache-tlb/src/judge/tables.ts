import type { EntryEffect, FreeEffect, WriteEffect } from '@granule/contract';
import { levelIndex } from '@granule/contract';
import type { Level } from '@granule/geometry';
import type { Context } from './context.js';
import { forEachBelow } from './coverage.js';
import type { Invalidations } from './invalidations.js';
import type { Ledger } from './ledger.js';
import type { Obligation } from './obligation.js';
import { removedPermissions } from './permissions.js';
import { ruleOf } from './rules.js';
import { cutAbove, leavesOf, pendingGuard, type TablePage, type TablePages } from './table-pages.js';

/** One entry as it was and is. */
interface Entry {
  context: Context;
  level: Level;
  address: number;
  index: number;
  oldLo: number;
  oldHi: number;
  lo: number;
  hi: number;
}

/** Follows descriptor writes and table pages: what they owe, and what they rely on. */
export class Tables {
  private entry: Entry | undefined;

  constructor(
    private readonly ledger: Ledger,
    private readonly pages: TablePages,
    private readonly invalidations: Invalidations,
  ) {}

  write(effect: WriteEffect): void {
    const page = this.pages.of(effect.table);
    const pe = effect.pe ?? 0;
    const reachable = page !== undefined && page.context.live && cutAbove(page) === undefined;
    if (!reachable && effect.before === undefined && effect.after === undefined) {
      this.writeUnreachable(page, effect, 0, effect.count);
      return;
    }
    if (reachable) {
      this.pages.rewrite(page, effect.index, effect.new);
    }
    const span = page?.context.span[levelIndex(effect.level)] ?? 0;
    for (let i = 0; i < effect.count; i++) {
      this.maintain(effect.before, pe, i * span, i);
      if (reachable) {
        this.writeEntry(page, this.entryOf(page.context, effect, i, span), pe);
      } else {
        this.writeUnreachable(page, effect, i, i + 1);
      }
      this.maintain(effect.after, pe, i * span, i);
    }
  }

  private maintain(effects: readonly EntryEffect[] | undefined, pe: number, offset: number, entries: number): void {
    if (effects !== undefined) {
      for (const each of effects) {
        this.invalidations.maintain(each, each.pe ?? pe, offset, entries);
      }
    }
  }

  /** The same object every time. */
  private entryOf(context: Context, effect: WriteEffect, i: number, span: number): Entry {
    const entry = (this.entry ??= { context, level: 3, address: 0, index: 0, oldLo: 0, oldHi: 0, lo: 0, hi: 0 });
    entry.context = context;
    entry.level = effect.level;
    entry.address = effect.address + i * span;
    entry.index = effect.index + i;
    entry.oldLo = effect.old[2 * i];
    entry.oldHi = effect.old[2 * i + 1];
    entry.lo = effect.new[2 * i];
    entry.hi = effect.new[2 * i + 1];
    return entry;
  }

  /** Pages that no walk reaches: their words count when they are linked. What was once linked keeps its shape. */
  private writeUnreachable(page: TablePage | undefined, effect: WriteEffect, from: number, to: number): void {
    this.ledger.tick += to - from;
    if (page === undefined || !page.context.live) {
      this.pages.keep(effect.table, effect.index + from, effect.new.subarray(2 * from, 2 * to));
    } else {
      this.pages.rewrite(page, effect.index + from, effect.new.subarray(2 * from, 2 * to));
    }
  }

  private writeEntry(page: TablePage, entry: Entry, pe: number): void {
    this.ledger.tick++;
    const { context } = page;
    const li = levelIndex(entry.level);
    const wasLeaf = context.isLeaf(entry.oldLo, li);
    const wasTable = context.isTable(entry.oldLo, li);
    const isLeaf = context.isLeaf(entry.lo, li);
    const isTable = context.isTable(entry.lo, li);
    if (isLeaf || isTable) {
      if (wasLeaf || wasTable) {
        this.changeInPlace(page, entry, pe, wasTable, isTable);
      } else {
        this.make(context, entry.level, entry.address, entry.lo, entry.hi);
      }
      if (isTable) {
        this.link(page, entry, pe);
      }
      if (!wasLeaf || !setsAccessFlagAlone(entry)) {
        this.ledger.barriers(pe).made(context, entry.address, entry.address + context.span[li], this.ledger.event);
      }
    } else if (wasLeaf) {
      this.ledger.owe('leaf', entry, pe, entry.oldLo, entry.oldHi);
    } else if (wasTable) {
      this.unlink(page, entry.index, this.ledger.owe('table', entry, pe, entry.oldLo, entry.oldHi), pe);
    }
  }

  private changeInPlace(page: TablePage, entry: Entry, pe: number, wasTable: boolean, isTable: boolean): void {
    const { ledger } = this;
    const { context, level, address, oldLo, oldHi, lo, hi } = entry;
    const rule = context.format.mustBreak(oldLo, oldHi, lo, hi, level);
    if (rule !== undefined) {
      ledger.violate(rule, ledger.event, ledger.event, address);
    }
    if (!wasTable) {
      if (!isTable && rule === undefined) {
        this.changePermissions(entry, pe);
      }
      return;
    }
    if (isTable && context.format.tableOutput(oldLo, oldHi) === context.format.tableOutput(lo, hi)) {
      return;
    }
    this.unlink(page, entry.index, rule === undefined ? ledger.owe('table', entry, pe, oldLo, oldHi, { guardOnly: true }) : undefined, pe);
  }

  /** A permission that went is owed until it comes back, or is invalidated. */
  private changePermissions(entry: Entry, pe: number): void {
    const { context, level, address, oldLo, oldHi, lo, hi } = entry;
    const before = context.owedFor(address, levelIndex(level));
    const removed = removedPermissions(context, oldLo, oldHi, lo, hi, level);
    if (before === undefined) {
      if (removed !== 0) {
        this.ledger.owe('permission', entry, pe, oldLo, oldHi, { removed });
      }
      return;
    }
    const inAll = removedPermissions(context, before.oldLo, before.oldHi, lo, hi, level);
    if (inAll === 0) {
      this.ledger.drop(before);
    } else if (removed !== 0) {
      this.ledger.owe('permission', entry, pe, before.oldLo, before.oldHi, { removed: inAll });
    }
  }

  /**
   * A valid entry where there was none: what was there, or below it, must be gone from TLBs, unless it could have been changed in place.
   */
  private make(context: Context, level: Level, address: number, lo: number, hi: number): void {
    if (context.owed === 0) {
      return;
    }
    const { ledger } = this;
    const li = levelIndex(level);
    const leaf = context.isLeaf(lo, li);
    const before = context.owedFor(address, li);
    if (before !== undefined) {
      if (context.format.mustBreak(before.oldLo, before.oldHi, lo, hi, level) !== undefined) {
        ledger.expose(before, ledger.event);
      } else if (before.kind === 'table' || !leaf || removedPermissions(context, before.oldLo, before.oldHi, lo, hi, level) === 0) {
        ledger.drop(before);
      }
    }
    if (!leaf) {
      return;
    }
    const stale = li === 0 ? undefined : context.leavesOwedFor(address, li - 1);
    if (stale !== undefined) {
      ledger.expose(stale, ledger.event);
    }
    if (level < 3) {
      forEachBelow(context, level, address, address + context.span[li], (each) => ledger.expose(each, ledger.event));
    }
  }

  private link(page: TablePage, { context, level, address, index, lo, hi }: Entry, pe: number): void {
    const { ledger } = this;
    const pa = context.format.tableOutput(lo, hi);
    const known = page.children?.get(index);
    if (known?.pa === pa && known.linked) {
      return;
    }
    const used = this.pages.of(pa);
    const guard = used === undefined || (used.context === context && used.address === address) ? undefined : pendingGuard(used);
    if (guard !== undefined) {
      ledger.expose(guard, ledger.event, 'table.reused-in-use');
    }
    const at = { context, level: (level + 1) as Level, address, parent: page, index, linkedAt: ledger.event };
    this.pages.link(pa, at, (ctx, madeLevel, madeAddress, madeLo, madeHi) => {
      this.make(ctx, madeLevel, madeAddress, madeLo, madeHi);
      ledger.barriers(pe).made(ctx, madeAddress, madeAddress + ctx.span[levelIndex(madeLevel)], ledger.event);
    });
  }

  /** A table is no longer pointed to. Without a guard that has been told already, and nothing more is owed. */
  private unlink(page: TablePage, index: number, guard: Obligation | undefined, pe: number): void {
    const child = page.children?.get(index);
    if (child === undefined) {
      return;
    }
    page.children?.delete(index);
    child.linked = false;
    child.guard = guard;
    if (guard !== undefined && !guard.guardOnly) {
      this.oweBelow(child, pe);
    }
  }

  /** Walk caches may hold entries of a table that went, and TLBs its leaves. */
  private oweBelow(table: TablePage, pe: number): void {
    const { context, level, address } = table;
    const span = context.span[levelIndex(level)];
    const leaves = leavesOf(table);
    if (leaves !== undefined) {
      const { first, last } = leaves;
      this.ledger.oweLeaves({ context, level: (level - 1) as Level, address }, pe, address + (first + 1) * span, address + last * span);
    }
    for (const [index, child] of table.children ?? []) {
      const at = { context, level, address: address + index * span };
      const { lo, hi } = tableEntry(context, child.pa);
      child.guard = this.ledger.owe('table', at, pe, lo, hi);
      this.oweBelow(child, pe);
    }
  }

  take(pa: number): void {
    const page = this.pages.of(pa);
    const guard = page === undefined ? undefined : pendingGuard(page);
    if (guard !== undefined) {
      this.ledger.expose(guard, this.ledger.event, 'table.reused-in-use');
    }
    this.pages.forget(pa);
  }

  free({ table, pages, deferred }: FreeEffect): void {
    const bytes = this.pages.of(table)?.context.pageBytes ?? 0;
    for (let i = 0; i < pages; i++) {
      const page = this.pages.of(table + i * bytes);
      if (page?.context.live === true && this.freePage(page, deferred)) {
        continue;
      }
      this.pages.forget(table + i * bytes);
    }
  }

  /** Whether the page is kept in mind: it is freed after a grace period, and its invalidation may come before that. */
  private freePage(page: TablePage, deferred: boolean): boolean {
    const { ledger } = this;
    if (cutAbove(page) === undefined) {
      ledger.violate(ruleOf('table.freed-while-linked'), page.linkedAt, ledger.event, page.pa);
      return false;
    }
    const guard = pendingGuard(page);
    if (guard !== undefined && deferred) {
      page.linked = false;
      page.guard = guard;
      return true;
    }
    if (guard !== undefined) {
      ledger.expose(guard, ledger.event, 'table.freed-in-use');
    }
    return false;
  }
}

/** A plain table entry that points to this page. */
function tableEntry({ format }: Context, pa: number): { readonly lo: number; readonly hi: number } {
  const bits = format.encodeTable();
  const output = format.encodeOutput(pa, format.geometry.pageShift);
  return bits.kind === 'done' && output.kind === 'done'
    ? { lo: (bits.value.lo | output.value.lo) >>> 0, hi: (bits.value.hi | output.value.hi) >>> 0 }
    : { lo: 0, hi: 0 };
}

/**
 * Whether a leaf is as before but for its access flag, as hardware sets it (DDI 0487 D8.5): the walk that did so goes on with it, and any other that does not
 * see it yet finds a leaf to be made young once more.
 */
function setsAccessFlagAlone({ context, oldLo, oldHi, lo, hi }: Entry): boolean {
  const { afLo, afHi } = context.format.numbers;
  return (oldLo | afLo) >>> 0 === lo >>> 0 && (oldHi | afHi) >>> 0 === hi >>> 0;
}
