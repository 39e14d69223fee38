import type { Outcome } from '@granule/contract';
import { done } from '@granule/contract';
import { alignDown, alignUp, hex, type InputAddress } from '@granule/geometry/bits';
import { refuse } from '../errno.js';
import type { HypLayout } from './layout.js';

/** Where EL2's own mappings (vectors, devices, stacks) get their addresses. Sizes are rounded up to pages. */
export interface PrivateVa {
  allocate(bytes: number): Outcome<InputAddress>;
  /** An address aligned to the size that it was asked for, a power of two. */
  allocateAligned(bytes: number): Outcome<InputAddress>;
}

/** nVHE: downwards from the identity map, as long as bit VA_BITS − 1 does not flip (hyp_alloc_private_va_range). */
export class DownwardVa implements PrivateVa {
  #base: InputAddress;
  readonly #half: number;
  readonly #pageShift: number;

  constructor({ idmap, vaBits }: Pick<HypLayout, 'idmap' | 'vaBits'>, pageShift: number) {
    const identical: number = idmap;
    this.#base = identical;
    this.#half = 2 ** (vaBits - 1);
    this.#pageShift = pageShift;
  }

  allocate(bytes: number): Outcome<InputAddress> {
    return this.#move(this.#base - alignUp(bytes, this.#pageShift));
  }

  allocateAligned(bytes: number): Outcome<InputAddress> {
    return this.#move(this.#base < bytes ? -1 : alignDown(this.#base - bytes, Math.log2(bytes)));
  }

  #move(base: number): Outcome<InputAddress> {
    if (base < 0 || Math.floor(base / this.#half) !== Math.floor(this.#base / this.#half)) {
      return exhausted(`below ${hex(this.#base)} nothing is left of the half of the identity map`, 'Linux __hyp_alloc_private_va_range: -ENOMEM');
    }
    this.#base = base;
    return done(base);
  }
}

/** pKVM: upwards from the IO base, up to hyp's page structures (pkvm_alloc_private_va_range). */
export class UpwardVa implements PrivateVa {
  #base: InputAddress;
  readonly #limit: InputAddress;
  readonly #pageShift: number;

  constructor(ioBase: InputAddress, vmemmap: InputAddress, pageShift: number) {
    this.#base = ioBase;
    this.#limit = vmemmap;
    this.#pageShift = pageShift;
  }

  allocate(bytes: number): Outcome<InputAddress> {
    return this.#take(this.#base, bytes);
  }

  allocateAligned(bytes: number): Outcome<InputAddress> {
    return this.#take(alignUp(this.#base, Math.log2(bytes)), bytes);
  }

  #take(start: InputAddress, bytes: number): Outcome<InputAddress> {
    const end = start + alignUp(bytes, this.#pageShift);
    if (end > this.#limit) {
      return exhausted(`${hex(start)}-${hex(end)} reaches beyond ${hex(this.#limit)}`, 'Linux pkvm_alloc_private_va_range: -ENOMEM');
    }
    this.#base = end;
    return done(start);
  }
}

function exhausted(why: string, source: string) {
  return refuse('hyp.va-exhausted', `There is no private hyp address range: ${why}.`, source);
}
