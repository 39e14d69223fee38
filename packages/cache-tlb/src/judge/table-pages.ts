import { levelIndex } from '@granule/contract';
import type { Level } from '@granule/geometry';
import type { Context } from './context.js';
import { PHASE, type Obligation } from './obligation.js';

/** A table page that an installed table uses, or used. */
export interface TablePage {
  readonly pa: number;
  readonly context: Context;
  readonly level: Level;
  /** Input address of its first entry. */
  readonly address: number;
  parent: TablePage | undefined;
  /** The event that linked it. */
  linkedAt: number;
  /** Entry of the parent. */
  index: number;
  /** The parent's entry points to it. */
  linked: boolean;
  /** What is owed since the entry, or one above it, went. */
  guard: Obligation | undefined;
  /** Its descriptors as they were last written, two halves each; undefined: all zero. */
  words: Uint32Array | undefined;
  /** Tables below, by index of the entry. */
  readonly children: Map<number, TablePage>;
}

/** Told of each valid entry of a subtree that is linked in one go. */
export type Made = (context: Context, level: Level, address: number, lo: number, hi: number) => void;

/**
 * Which page is part of which table. Contents are kept only of pages that no installed table uses, until they are linked: what is in them
 * takes effect then.
 */
export class TablePages {
  private readonly pages = new Map<number, TablePage>();
  /** Words of pages that are not linked anywhere. */
  private readonly unlinked = new Map<number, Uint32Array>();

  of(pa: number): TablePage | undefined {
    return this.pages.get(pa);
  }

  /** Keeps words written to a page that no installed table uses. */
  keep(pa: number, index: number, words: Uint32Array): void {
    this.unlinked.set(pa, withWords(this.unlinked.get(pa), index, words));
  }

  /** Keeps words written to a page of a table. */
  rewrite(page: TablePage, index: number, words: Uint32Array): void {
    page.words = withWords(page.words, index, words);
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
  link(pa: number, at: Omit<TablePage, 'pa' | 'linked' | 'guard' | 'words' | 'children'>, made: Made): TablePage {
    const content = this.unlinked.get(pa);
    this.unlinked.delete(pa);
    const page = this.linkedAgain(pa, at) ?? {
      ...at,
      pa,
      linked: true,
      guard: undefined,
      words: content,
      children: new Map<number, TablePage>(),
    };
    this.pages.set(pa, page);
    at.parent?.children.set(at.index, page);
    if (content !== undefined) {
      this.readContent(page, content, made);
    }
    return page;
  }

  /** The page was part of this table for these addresses before, and is so again with what it has below it. */
  private linkedAgain(pa: number, at: Omit<TablePage, 'pa' | 'linked' | 'guard' | 'words' | 'children'>): TablePage | undefined {
    const page = this.pages.get(pa);
    return page?.context === at.context && page.address === at.address && page.level === at.level
      ? Object.assign(page, { ...at, linked: true, guard: undefined })
      : undefined;
  }

  private readContent(page: TablePage, content: Uint32Array, made: Made): void {
    const { context, level, address, linkedAt } = page;
    const li = levelIndex(level);
    const entries = Math.min(content.length / 2, context.tableEntries);
    for (let i = 0; i < entries; i++) {
      const lo = content[2 * i];
      const hi = content[2 * i + 1];
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

function withWords(content: Uint32Array | undefined, index: number, words: Uint32Array): Uint32Array {
  const end = 2 * index + words.length;
  let kept = content;
  if (kept === undefined || kept.length < end) {
    kept = new Uint32Array(Math.max(1024, 2 ** Math.ceil(Math.log2(end))));
    kept.set(content ?? []);
  }
  kept.set(words, 2 * index);
  return kept;
}

/** Indices of the first and the last entry that is a leaf, if there is one. */
export function leavesOf({ context, level, words }: TablePage): { readonly first: number; readonly last: number } | undefined {
  const li = levelIndex(level);
  const isLeaf = (lo: number, index: number): boolean => index % 2 === 0 && context.isLeaf(lo, li);
  const first = words?.findIndex(isLeaf) ?? -1;
  return words === undefined || first === -1 ? undefined : { first: first / 2, last: words.findLastIndex(isLeaf) / 2 };
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
