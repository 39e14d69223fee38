import type { OutputAddress } from '@granule/geometry/bits';
import type { CacheHierarchy } from './hierarchy.js';
import type { CachePolicy } from './policy.js';

/** Memory that a PE's enabled translations let it touch, with the policy they give: what speculation may reach. */
export interface Reachable {
  readonly pe: number;
  readonly pa: OutputAddress;
  readonly bytes: number;
  readonly policy: CachePolicy;
  /** Instructions: the VA of `pa`. Absent: data. */
  readonly va?: number;
}

/** Something that caches may do without being asked. */
export type CacheChoice =
  /** A read ahead into L1. */
  | { readonly type: 'fill'; readonly pe: number; readonly line: number; readonly policy: CachePolicy }
  | { readonly type: 'prefetch'; readonly pe: number; readonly line: number; readonly va: number; readonly policy: CachePolicy }
  /** A line, clean or dirty, goes from one L1 to another of the domain. */
  | { readonly type: 'migrate'; readonly from: number; readonly to: number; readonly line: number }
  /** An instruction line is dropped from the L1 of a PE. */
  | { readonly type: 'forget'; readonly pe: number; readonly line: number }
  /** An eviction of data: from the L1 of a PE, from level 2, or from the system cache. */
  | { readonly type: 'evict'; readonly from: number | 'outer' | 'system'; readonly line: number };

function linesOf(caches: CacheHierarchy, { pa, bytes }: Reachable): readonly number[] {
  const size = caches.lineBytes;
  const first = Math.floor(pa / size);
  const last = Math.floor((pa + bytes - 1) / size);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * size);
}

function readsAhead(caches: CacheHierarchy, reachable: Reachable): readonly CacheChoice[] {
  const { pe, pa, policy, va } = reachable;
  if (!policy.inner.cacheable) return [];
  const lines = linesOf(caches, reachable);
  if (va === undefined) {
    return lines.filter((line) => caches.data[pe].find(line) === -1).map((line) => ({ type: 'fill', pe, line, policy }));
  }
  return lines
    .map((line) => ({ type: 'prefetch' as const, pe, line, va: va + (line - pa), policy }))
    .filter((each) => caches.instruction[pe].find(each.line, caches.instructionIndex(each.va, each.line)) === -1);
}

/** Whether `to` may draw a line over from `from`: what it holds itself must not be newer. */
function mayMigrate(caches: CacheHierarchy, from: number, to: number, line: number): boolean {
  const slot = caches.data[from].find(line);
  return slot !== -1 && (caches.data[from].isDirty(slot) || caches.data[to].find(line) === -1);
}

/** A PE draws a line over that another PE of the domain holds. */
function migrations(caches: CacheHierarchy, reachable: Reachable): readonly CacheChoice[] {
  const { pe: to, policy, va } = reachable;
  if (va !== undefined || !policy.inner.cacheable) return [];
  const others = caches.domain(to, policy.share).filter((each) => each !== to);
  return linesOf(caches, reachable).flatMap((line) =>
    others.filter((from) => mayMigrate(caches, from, to, line)).map((from) => ({ type: 'migrate' as const, from, to, line })),
  );
}

function evictions(caches: CacheHierarchy): readonly CacheChoice[] {
  const of = (from: number | 'outer' | 'system'): readonly CacheChoice[] => {
    const lines = typeof from === 'number' ? caches.data[from] : caches[from];
    return lines === undefined ? [] : lines.held().map((slot) => ({ type: 'evict', from, line: lines.lineOf(slot) }));
  };
  const forgotten = caches.instruction.flatMap((lines, pe): readonly CacheChoice[] =>
    lines.held().map((slot) => ({ type: 'forget', pe, line: lines.lineOf(slot) })),
  );
  return [...[...caches.data.keys(), 'outer' as const, 'system' as const].flatMap(of), ...forgotten];
}

/**
 * Everything that caches may do by themselves now: all of it is allowed at any time (DDI 0487 D7.5, B2.10), none of it must happen. A run
 * without speculation takes none.
 */
export function cacheChoices(caches: CacheHierarchy, reachable: readonly Reachable[]): readonly CacheChoice[] {
  return [...reachable.flatMap((each) => [...readsAhead(caches, each), ...migrations(caches, each)]), ...evictions(caches)];
}

function migrate(caches: CacheHierarchy, from: number, to: number, line: number): void {
  if (!mayMigrate(caches, from, to, line)) throw new RangeError(`PE ${from} holds no line ${line} that PE ${to} could take.`);
  const source = caches.data[from];
  const slot = source.find(line);
  const held = caches.data[to].find(line);
  if (held !== -1) caches.data[to].drop(held);
  caches.fillData(to, line, source.dataOf(slot), source.isDirty(slot), source.isOuter(slot));
  source.drop(slot);
}

function evict(caches: CacheHierarchy, from: number | 'outer' | 'system', line: number): void {
  const lines = typeof from === 'number' ? caches.data[from] : caches[from];
  const slot = lines?.find(line) ?? -1;
  if (lines === undefined || slot === -1) throw new RangeError(`No line ${line} to evict from ${from}.`);
  caches.writeBack(lines, slot, typeof from === 'number' ? 0 : caches.shared.indexOf(lines) + 1);
  lines.drop(slot);
}

/** Does one of {@link cacheChoices}. @throws RangeError where the line is not there */
export function takeCacheChoice(caches: CacheHierarchy, choice: CacheChoice): void {
  switch (choice.type) {
    case 'fill':
      caches.readLine(choice.pe, choice.line, new Uint8Array(caches.lineBytes), choice.policy);
      return;
    case 'prefetch':
      caches.fetch(choice.pe, choice.va, choice.line, new Uint8Array(caches.lineBytes), choice.policy);
      return;
    case 'forget':
      caches.instruction[choice.pe].dropLine(choice.line);
      return;
    case 'migrate':
      migrate(caches, choice.from, choice.to, choice.line);
      return;
    case 'evict':
      evict(caches, choice.from, choice.line);
  }
}
