import type { Effect, EntryEffect, WriteEffect } from '@granule/contract';

/**
 * The effect as entry-by-entry execution emits it: of a `write` run, for each entry in entry order, `before`, the write of that entry
 * alone, `after`. Addresses advance with the entry: a TLBI's `address` by the entry's span, a CMO's by its bytes. Every other effect
 * stands for itself.
 *
 * @param span bytes that one entry of a level covers: `(level) => entrySpan(granule, level)`
 */
export function expandEffect(effect: Effect, span: (level: WriteEffect['level']) => number): readonly Effect[] {
  if (effect.type !== 'write') {
    return [effect];
  }
  const { before, after, ...write } = effect;
  const bytes = span(write.level);
  const expanded: Effect[] = [];
  for (let i = 0; i < write.count; i++) {
    expanded.push(...(before ?? []).map((each) => advanced(each, i, bytes)));
    expanded.push({
      ...write,
      index: write.index + i,
      count: 1,
      address: write.address + i * bytes,
      old: write.old.slice(2 * i, 2 * i + 2),
      new: write.new.slice(2 * i, 2 * i + 2),
    });
    expanded.push(...(after ?? []).map((each) => advanced(each, i, bytes)));
  }
  return expanded;
}

function advanced(effect: EntryEffect, entries: number, span: number): EntryEffect {
  switch (effect.type) {
    case 'tlbi':
      return effect.address === undefined ? effect : { ...effect, address: effect.address + entries * span };
    case 'cmo':
      return { ...effect, address: effect.address + entries * effect.bytes };
    case 'dsb':
    case 'isb':
      return effect;
  }
}

/** All effects, expanded ({@link expandEffect}). */
export function expandAll(effects: readonly Effect[], span: (level: WriteEffect['level']) => number): readonly Effect[] {
  return effects.flatMap((each) => expandEffect(each, span));
}
