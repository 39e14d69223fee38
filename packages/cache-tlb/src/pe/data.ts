import type { Mismatch } from '@granule/contract';
import { cachePolicy } from '../cache/policy.js';
import type { Machine } from './machine.js';
import type { PeAccess } from './pe.js';

/** Bytes that DC ZVA zeroes, DCZID_EL0.BS = 4. */
export const ZERO_BYTES = 64;

/** What an access moved. */
export interface Moved {
  readonly value: bigint;
  readonly mismatch?: Mismatch;
}

/** The data side of a PE: moves the bytes of accesses through the caches of its machine, and compares them with what was last written. */
export class DataPath {
  readonly #data = new Uint8Array(8);
  readonly #view = new DataView(this.#data.buffer);
  readonly #zeros = new Uint8Array(ZERO_BYTES);

  constructor(
    private readonly machine: Machine,
    private readonly pe: number,
  ) {}

  /**
   * Reads or writes bytes at `output`. Undefined: an external abort.
   *
   * @param attributes, shareability what SCTLR, HCR and both stages leave of them
   */
  move(access: PeAccess, output: number, attributes: number, shareability: number): Moved | undefined {
    const { type, bytes = 8, value = 0n } = access;
    this.#view.setBigUint64(0, type === 'write' ? value : 0n, true);
    const data = this.#data.subarray(0, bytes);
    if (type === 'write') {
      const zeros = access.zero === true;
      const done = this.#write(zeros ? output - (output % ZERO_BYTES) : output, zeros ? this.#zeros : data, attributes, shareability);
      return done ? { value: zeros ? 0n : value } : undefined;
    }
    if (!this.#read(access, output, data, attributes, shareability)) return undefined;
    const mismatch = this.machine.witness?.check(this.pe, output, data, type === 'fetch');
    return { value: this.#view.getBigUint64(0, true), ...(mismatch !== undefined && { mismatch }) };
  }

  #write(pa: number, data: Uint8Array, attributes: number, shareability: number): boolean {
    const { caches, memory, witness, cacheOrder, events } = this.machine;
    if (caches === undefined) return memory.write(pa, data).kind === 'done';
    const policy = cachePolicy(attributes, shareability, false, ON);
    const { cacheable, through } = policy.inner;
    if (cacheable) cacheOrder.access(this.pe, pa - (pa % caches.lineBytes));
    witness?.wrote(pa, data, events + 1, cacheable && !through);
    return caches.write(this.pe, pa, data, policy);
  }

  #read({ type, address }: PeAccess, pa: number, into: Uint8Array, attributes: number, shareability: number): boolean {
    const { caches, memory, cacheOrder } = this.machine;
    if (caches === undefined) return memory.read(pa, into);
    const policy = cachePolicy(attributes, shareability, type === 'fetch', ON);
    if (type === 'fetch') return caches.fetch(this.pe, Number(address & 0xf_ffff_ffff_ffffn), pa, into, policy);
    if (policy.inner.cacheable) cacheOrder.access(this.pe, pa - (pa % caches.lineBytes));
    return caches.read(this.pe, pa, into, policy);
  }
}

/** The attributes are those that SCTLR and HCR leave. */
const ON = { dataCache: true, instructionCache: true };
