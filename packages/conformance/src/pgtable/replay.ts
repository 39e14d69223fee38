import { ENTRY, type Effect, type Format, type TableMemory, type WriteEffect } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { expandAll } from '../effects/expand.js';
import { effectText } from '../effects/text.js';
import { ensure } from '../law.js';
import { spanOf } from './state.js';
import type { Found } from './walker.js';

/** A copy of table memory that knows nothing but the effects. */
export class Shadow {
  private readonly pages = new Map<number, Uint32Array>();

  constructor(private readonly format: Format) {}

  /** Applies the effects of one operation, in order. `op` begins the names of assertions. */
  apply(op: string, effects: readonly Effect[]): void {
    for (const effect of expandAll(effects, (level) => spanOf(this.format, level))) {
      switch (effect.type) {
        case 'write':
          this.write(op, effect);
          break;
        case 'take':
        case 'free':
          this.forget(effect.table, effect.pages);
          break;
        case 'tlbi':
        case 'dsb':
        case 'isb':
        case 'cmo':
        case 'register':
        case 'context-installed':
        case 'context-retired':
        case 'access':
        case 'fault':
          break;
      }
    }
  }

  private write(op: string, effect: WriteEffect): void {
    ensure(
      `${op}.effects-run`,
      effect.old.length === 2 && effect.new.length === 2,
      () => `old and new do not have 2 words an entry: ${effectText(effect)}`,
    );
    const bytes = 2 ** this.format.geometry.pageShift;
    const pa = effect.table + 8 * effect.index;
    const page = this.pageAt(Math.floor(pa / bytes) * bytes);
    const at = (pa % bytes) / 4;
    const same = page[at] === effect.old[0] && page[at + 1] === effect.old[1];
    ensure(
      `${op}.effects-old`,
      same,
      () => `the entry held ${hex(page[at + 1], 8)}:${hex(page[at], 8)} (hi:lo) before ${effectText(effect)}`,
    );
    const rule = this.format.mustBreak(effect.old[0], effect.old[1], effect.new[0], effect.new[1], effect.level);
    ensure(`${op}.effects-bbm`, rule === undefined, () => `break-before-make is missing (${rule?.id ?? ''}) in ${effectText(effect)}`);
    page[at] = effect.new[0];
    page[at + 1] = effect.new[1];
  }

  private pageAt(pa: number): Uint32Array {
    let page = this.pages.get(pa);
    if (page === undefined) {
      page = new Uint32Array(2 ** (this.format.geometry.pageShift - 2));
      this.pages.set(pa, page);
    }
    return page;
  }

  private forget(pa: number, pages: number): void {
    for (let i = 0; i < pages; i++) {
      this.pages.delete(pa + i * 2 ** this.format.geometry.pageShift);
    }
  }

  /** The copy holds what memory holds, in every page that a walk reaches. */
  compare(op: string, memory: TableMemory, found: Found): void {
    for (const page of found.pages) {
      const bytes = 8 * page.entries;
      const word = memory.wordOf(page.pa, bytes);
      const shadow = this.pages.get(page.pa);
      const actual = memory.words.subarray(word, word + bytes / 4);
      const i = actual.findIndex((each, at) => each !== (shadow?.[at] ?? 0));
      ensure(
        `${op}.effects-replay`,
        i === -1,
        () => `entry ${Math.floor(i / 2)} of the level-${page.level} table at ${hex(page.pa)} is not what the effects wrote`,
      );
    }
  }
}

/** Writes name the input address and level of the entry they write. */
export function writesAreNamed(format: Format, op: string, effects: readonly Effect[], found: Found): void {
  const freed = new Set(effects.flatMap((each) => (each.type === 'free' ? [each.table] : [])));
  const pages = new Map(found.pages.map((page) => [page.pa, page]));
  const bytes = 2 ** format.geometry.pageShift;
  for (const effect of effects) {
    if (effect.type !== 'write') {
      continue;
    }
    const pa = effect.table + 8 * effect.index;
    const pagePa = Math.floor(pa / bytes) * bytes;
    const page = pages.get(pagePa);
    if (page === undefined || freed.has(pagePa)) {
      continue;
    }
    const address = page.start + ((pa - pagePa) / 8) * spanOf(format, page.level);
    ensure(
      `${op}.effects-address`,
      effect.level === page.level && effect.address === address,
      () => `the entry is of level ${page.level} at ${hex(address)}: ${effectText(effect)}`,
    );
  }
}

/** After a valid entry of the table has gone, some TLB invalidation follows. */
export function invalidates(format: Format, op: string, effects: readonly Effect[]): void {
  const gone = effects.findIndex(
    (each) =>
      each.type === 'write' &&
      format.kind(each.old[0], each.old[1], each.level) >= ENTRY.leaf &&
      format.kind(each.new[0], each.new[1], each.level) < ENTRY.leaf,
  );
  if (gone === -1) {
    return;
  }
  const write = effects[gone];
  const inside = write.type === 'write' && (write.after ?? []).some((each) => each.type === 'tlbi');
  const later = effects
    .slice(gone + 1)
    .some(
      (each) =>
        each.type === 'tlbi' || (each.type === 'write' && [...(each.before ?? []), ...(each.after ?? [])].some((e) => e.type === 'tlbi')),
    );
  ensure(`${op}.effects-tlbi`, inside || later, () => `no TLB invalidation follows ${effectText(write)}`);
}
