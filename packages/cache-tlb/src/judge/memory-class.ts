import type { AccessEffect, MemoryType } from '@granule/contract';
import { levelIndex } from '@granule/contract';
import { cachePolicy, type LevelPolicy } from '../cache/policy.js';
import type { Context } from './context.js';
import type { TablePage, TablePages } from './table-pages.js';

/** What caches may do with an access, as far as it matters to others: hold a copy, and hold the only one. */
export interface MemoryClass {
  readonly cached: boolean;
  readonly dirties: boolean;
}

const WRITE_BACK: MemoryClass = { cached: true, dirties: true };
const WRITE_THROUGH: MemoryClass = { cached: true, dirties: false };
const UNCACHED: MemoryClass = { cached: false, dirties: false };
const ON = { dataCache: true, instructionCache: true } as const;

function ofAttributes(attributes: number, shareability: number): MemoryClass {
  const { inner, outer } = cachePolicy(attributes, shareability, false, ON);
  const isBack = ({ cacheable, through }: LevelPolicy): boolean => cacheable && !through;
  return { cached: inner.cacheable || outer.cacheable, dirties: isBack(inner) || isBack(outer) };
}

/** Undefined: it depends on something else, or is not told. */
function ofType(type: MemoryType): MemoryClass | undefined {
  if (type.startsWith('device') || type === 'normal-nc') return UNCACHED;
  if (type === 'normal' || type === 'normal-tagged' || type.includes('wb')) return WRITE_BACK;
  return type === 'normal-wt' || type.includes('wt') ? WRITE_THROUGH : undefined;
}

/**
 * The memory type that the descriptors in force give to an access: what the access tells, else what the leaves of the installed tables say. Undefined: not
 * known, as of a guest whose stage 1 is not in the stream.
 *
 * @param at the address by which a table translates the access; undefined: it takes no part
 */
export function memoryClassOf(effect: AccessEffect, contexts: readonly Context[], pages: TablePages, at: (context: Context) => number | undefined): MemoryClass | undefined {
  const { attributes, shareability = 3, regime, ipa } = effect;
  if (attributes !== undefined) return ofAttributes(attributes, shareability);
  const leaves = contexts.flatMap((context) => {
    const address = at(context);
    const memory = address === undefined ? undefined : memoryAt(context, pages, address);
    return memory === undefined ? [] : [{ context, memory }];
  });
  const [one, ...more] = leaves.filter(({ context }) => context.format.stage === 1);
  const [two, ...others] = leaves.filter(({ context }) => context.format.stage === 2);
  if (more.length > 0 || others.length > 0) return undefined;
  const first = one === undefined ? undefined : ofType(one.memory);
  if (ipa === undefined && regime !== 's2') return first;
  return two === undefined ? undefined : combined(first, two.memory, two.context.forcesWriteBack, regime === 's2');
}

/** Both stages (DDI 0487 D8.6, combining attributes). @param alone stage 2 is all that there is */
function combined(first: MemoryClass | undefined, memory: MemoryType, forces: boolean, alone: boolean): MemoryClass | undefined {
  const second = ofType(memory);
  if (memory === 'as-stage1') return first;
  if (second === undefined || !second.cached || alone || (forces && second.dirties)) return second;
  if (first === undefined || !first.cached) return first;
  return first.dirties ? second : first;
}

/** The memory type of the leaf that translates an address. */
function memoryAt(context: Context, pages: TablePages, address: number): MemoryType | undefined {
  const { geometry } = context.format;
  let level = geometry.startLevel;
  const covered = context.tableEntries * context.span[levelIndex(level)];
  let page: TablePage | undefined = pages.of(context.root + Math.floor(address / covered) * context.pageBytes);
  while (page?.content !== undefined) {
    const li = levelIndex(level);
    const index = Math.floor(address / context.span[li]) % context.tableEntries;
    const lo = page.content.lo(index);
    if (context.isLeaf(lo, li)) return context.format.decodeLeaf(lo, page.content.hi(index), level).memory;
    page = context.isTable(lo, li) ? page.children?.get(index) : undefined;
    level = (level + 1) as typeof level;
  }
  return undefined;
}
