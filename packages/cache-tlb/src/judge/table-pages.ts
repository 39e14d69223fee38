import { levelIndex } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { Content } from './content.js';
import type { Context } from './context.js';
import { PHASE, type Obligation } from './obligation.js';

/** Where a page is linked. */
export interface Place {
  readonly context: Context;
  readonly level: Level;
  /** Input address of its first entry. */
  readonly address: number;
  readonly parent: TablePage | undefined;
  /** Entry of the parent. */
  readonly index: number;
  /** The event that linked it. */
  readonly linkedAt: number;
}

/** A table page that an installed table uses, or used. */
export interface TablePage {
  readonly pa: number;
  readonly context: Context;
  readonly level: Level;
  readonly address: number;
  parent: TablePage | undefined;
  index: number;
  linkedAt: number;
  /** The parent's entry points to it. */
  linked: boolean;
  /** What is owed since the entry, or one above it, went. */
  guard: Obligation | undefined;
  /** Undefined: all its descriptors are zero. */
  content: Content | undefined;
  /** Tables below, by index of the entry; undefined: there were none yet. */
  children: Map<number, TablePage> | undefined;
}

/** Told of each valid entry of a subtree that is linked in one go. */
export type Made = (context: Context, level: Level, address: number, lo: number, hi: number) => void;

/**
 * Which page is part of which table. Contents are kept only of pages that no installed table uses, until they are linked: what is in them
 * takes effect then.
 */
export class TablePages {
  private readonly pages = new Map<number, TablePage>();
  /** Of pages that are not linked anywhere. */
  private readonly unlinked = new Map<number, Content>();

  of(pa: number): TablePage | undefined {
    return this.pages.get(pa);
  }

  /** Keeps words written to a page that no installed table uses. */
  keep(pa: number, index: number, words: Uint32Array): void {
    let content = this.unlinked.get(pa);
    if (content === undefined) {
      content = new Content();
      this.unlinked.set(pa, content);
    }
    content.write(index, words);
  }

  /** Keeps words written to a page of a table. */
  rewrite(page: TablePage, index: number, words: Uint32Array): void {
    (page.content ??= new Content()).write(index, words);
  }

  /** Nothing is known of the page any more. */
  forget(pa: number): void {
    this.pages.delete(pa);
    this.unlinked.delete(pa);
  }

  /** A context's pages are nobody's now. */
  retire(context: Context): void {
    for (const [pa, page] of this.pages) {
      if (page.context === context) {
        this.pages.delete(pa);
      }
    }
  }

  /** The page becomes part of a table, with all that its content points to. */
  link(pa: number, at: Place, made: Made): TablePage {
    const content = this.unlinked.get(pa);
    this.unlinked.delete(pa);
    const page = this.linkedAgain(pa, at) ?? newPage(pa, at, content);
    this.pages.set(pa, page);
    if (at.parent !== undefined) {
      (at.parent.children ??= new Map<number, TablePage>()).set(at.index, page);
    }
    if (content !== undefined) {
      this.readContent(page, content, made);
    }
    return page;
  }

  /** The page was part of this table for these addresses before, and is so again with what it has below it. */
  private linkedAgain(pa: number, at: Place): TablePage | undefined {
    const page = this.pages.get(pa);
    if (page?.context !== at.context || page.address !== at.address || page.level !== at.level) {
      return undefined;
    }
    page.parent = at.parent;
    page.index = at.index;
    page.linkedAt = at.linkedAt;
    page.linked = true;
    page.guard = undefined;
    return page;
  }

  private readContent(page: TablePage, content: Content, made: Made): void {
    const { context, level, address, linkedAt } = page;
    const li = levelIndex(level);
    const end = Math.min(content.end, context.tableEntries);
    for (let i = content.from; i < end; i++) {
      const lo = content.lo(i);
      const hi = content.hi(i);
      const at = address + i * context.span[li];
      if (context.isLeaf(lo, li)) {
        made(context, level, at, lo, hi);
      } else if (context.isTable(lo, li)) {
        this.link(
          context.format.tableOutput(lo, hi),
          { context, level: (level + 1) as Level, address: at, parent: page, index: i, linkedAt },
          made,
        );
      }
    }
  }
}

function newPage(pa: number, { context, level, address, parent, index, linkedAt }: Place, content: Content | undefined): TablePage {
  return { pa, context, level, address, parent, index, linkedAt, linked: true, guard: undefined, content, children: undefined };
}

/** Indices of the first and the last entry that is a leaf, if there is one. */
export function leavesOf({ context, level, content }: TablePage): { readonly first: number; readonly last: number } | undefined {
  if (content === undefined) {
    return undefined;
  }
  const li = levelIndex(level);
  let first = content.from;
  let last = content.end - 1;
  while (first <= last && !context.isLeaf(content.lo(first), li)) first++;
  while (last > first && !context.isLeaf(content.lo(last), li)) last--;
  return first > last ? undefined : { first, last };
}

/** The page at which the way from the root to this one is cut, itself included; undefined: it can be walked to. */
export function cutAbove(page: TablePage): TablePage | undefined {
  for (let at: TablePage | undefined = page; at !== undefined; at = at.parent) {
    if (!at.linked) {
      return at;
    }
  }
  return undefined;
}

/** What must be done before the page may be given back: walk caches may hold its entry, and each one on the way to it down from the cut. */
export function pendingGuard(page: TablePage): Obligation | undefined {
  for (let at: TablePage | undefined = page; at !== undefined; at = at.parent) {
    if (at.guard !== undefined && at.guard.phase !== PHASE.done && at.guard.context.live) {
      return at.guard;
    }
    if (!at.linked) {
      return undefined;
    }
  }
  return undefined;
}
