import { type Failure, type FaultValue } from '@granule/contract';
import { alignDown } from '@granule/geometry/bits';
import { type AbortRegisters, guestAbort, type Handled, type Vcpu, type Vm } from '@granule/kvm';
import type { World } from './world.js';

export interface AbortedBy {
  readonly va: bigint;
  readonly write: boolean;
  readonly bytes: number;
}

/** What came of an abort: as the policy says, or not handled. */
export type Answer = { readonly kind: 'handled'; readonly handled: Handled } | { readonly kind: 'retry' } | { readonly kind: 'failed'; readonly failure: Failure };

/** Syndromes are alike for most aborts of a run. */
const PAGE_SHIFT = 12;

/** Hands an abort of a vCPU to the policy as the registers tell it, and counts what it made of it. */
export class Aborts {
  readonly #syndromes = new Map<string, bigint>();

  constructor(private readonly world: World) {}

  handle(vm: Vm, vcpu: Vcpu, fault: FaultValue, by: AbortedBy): Answer {
    const { recorder } = this.world;
    const ipa = alignDown(fault.ipa ?? 0, PAGE_SHIFT);
    const registers: AbortRegisters = { esr: this.#syndrome(fault, by), far: by.va, ipa };
    const outcome = guestAbort(vm, vcpu, registers);
    if (outcome.kind === 'retry') {
      recorder.tally.answer('retry');
      return { kind: 'retry' };
    }
    if (outcome.kind !== 'done') {
      recorder.tally.answer(outcome.id);
      return { kind: 'failed', failure: outcome };
    }
    recorder.tally.answer(nameOf(outcome.value));
    return { kind: 'handled', handled: outcome.value };
  }

  #syndrome(fault: FaultValue, { write, bytes }: AbortedBy): bigint {
    const maintenance = fault.access === 'cache-maintenance';
    const key = [fault.type, fault.level, fault.s1ptw, fault.access, write, bytes].join();
    let esr = this.#syndromes.get(key);
    if (esr === undefined) {
      const { faults } = this.world.config.backend;
      const data = fault.access !== 'fetch' && !fault.s1ptw && !maintenance && [1, 2, 4, 8].includes(bytes);
      const transfer = { sas: Math.log2(bytes), signed: false, register: 0, wide: bytes === 8, ordered: false };
      esr = faults.abort?.(fault, { from: 1, to: 2, va: 0n, write, maintenance, ...(data ? { transfer } : {}) }).esr ?? 0n;
      this.#syndromes.set(key, esr);
    }
    return esr;
  }
}

/** Under the names of `Counts.answers`. */
function nameOf(handled: Handled): string {
  switch (handled.did) {
    case 'mmio':
      return handled.write ? 'mmio.write' : 'mmio.read';
    case 'injected':
      return `injected.${handled.exception}`;
    case 'mapped':
    case 'relaxed':
    case 'made-young':
    case 'skipped':
    case 'forwarded':
    case 'host-external-abort':
      return handled.did;
  }
}
