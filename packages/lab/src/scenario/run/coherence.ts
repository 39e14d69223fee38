import type { AccessEffect, Mismatch } from '@granule/contract';
import type { CacheHierarchy } from '@granule/cache-tlb';
import type { SparseMemory } from '@granule/memory';

/** What memory would hold if there were no caches: every program's last store. It finds accesses that see something else. */
export class Coherence {
  readonly #writers = new Map<number, number>();
  #setWay = 0;

  constructor(
    private readonly truth: SparseMemory,
    private readonly memory: SparseMemory,
    private readonly caches: () => CacheHierarchy | undefined,
  ) {}

  /** A store at a physical address, told by event `event`. */
  wrote(pa: number, value: bigint, bytes: number, event: number): void {
    this.truth.write(pa, bytesOf(value, bytes));
    this.#writers.set(pa - (pa % 8), event);
  }

  /** A guest has cleaned by set/way after the event numbered so. */
  cleanedBySetWay(event: number): void {
    this.#setWay = event;
  }

  /** What the last store left. */
  expected(pa: number, bytes: number): bigint {
    const into = new Uint8Array(bytes);
    return this.truth.read(pa, into) ? valueOf(into) : 0n;
  }

  /** The rule that an access's value breaks; undefined where it is what was stored last. */
  check({ access, output, bytes, value }: AccessEffect): Mismatch | undefined {
    if (value === undefined || output === undefined || (access !== 'read' && access !== 'fetch')) {
      return undefined;
    }
    const expected = this.expected(output, bytes);
    if (expected === value) {
      return undefined;
    }
    const cause = this.#writers.get(output - (output % 8));
    const event = cause === undefined ? {} : { cause };
    if (access === 'fetch') {
      return { rule: 'code.stale-instructions', expected, ...event };
    }
    if (cause !== undefined && this.#setWay > cause) {
      return { rule: 'cache.set-way-not-enough', expected, ...event };
    }
    return { rule: this.#exists(output, bytesOf(expected, bytes)) ? 'data.stale-read' : 'data.lost-dirty-line', expected, ...event };
  }

  /** Whether memory or some cache holds these bytes there. */
  #exists(pa: number, bytes: Uint8Array): boolean {
    const into = new Uint8Array(bytes.length);
    const same = (other: Uint8Array): boolean => bytes.every((byte, i) => byte === other[i]);
    if (this.memory.read(pa, into) && same(into)) {
      return true;
    }
    const caches = this.caches();
    if (caches === undefined) {
      return false;
    }
    const line = pa - (pa % caches.lineBytes);
    return [...caches.data, caches.outer, caches.system].some((each) => {
      const slot = each?.find(line) ?? -1;
      return slot >= 0 && same(each!.dataOf(slot).subarray(pa - line, pa - line + bytes.length));
    });
  }
}

/** Little-endian. */
export function bytesOf(value: bigint, bytes: number): Uint8Array {
  const all = new Uint8Array(8);
  new DataView(all.buffer).setBigUint64(0, value, true);
  return all.subarray(0, bytes);
}

export function valueOf(bytes: Uint8Array): bigint {
  const all = new Uint8Array(8);
  all.set(bytes.subarray(0, 8));
  return new DataView(all.buffer).getBigUint64(0, true);
}
