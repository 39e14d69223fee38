import type { FaultValue, Outcome } from '@granule/contract';
import { alignDown } from '@granule/geometry/bits';
import { guestAbort, type Handled, type Vcpu, type Vm } from '@granule/kvm';
import type { World } from './world.js';

/** FAR and HPFAR have addresses of 4 KiB, whatever the granule. */
const PAGE_SHIFT = 12;

/** Hands aborts that no hardware made to the policy, as registers would tell them. */
export class Aborts {
  /** They are alike for most aborts of a run. */
  readonly #syndromes = new Map<number, bigint>();

  constructor(private readonly world: World) {}

  handle(vm: Vm, vcpu: Vcpu, fault: FaultValue, write: boolean, bytes: number): Outcome<Handled> {
    const { ipa = 0 } = fault;
    return guestAbort(vm, vcpu, { esr: this.#syndrome(fault, write, bytes), far: BigInt(fault.address), ipa: alignDown(ipa, PAGE_SHIFT) });
  }

  #syndrome(fault: FaultValue, write: boolean, bytes: number): bigint {
    const key = ((FAULTS.indexOf(fault.type) * 8 + fault.level + 1) * 2 + Number(write)) * 16 + bytes + (fault.access === 'fetch' ? 8192 : 0);
    let esr = this.#syndromes.get(key);
    if (esr === undefined) {
      const sas = [1, 2, 4, 8].indexOf(bytes);
      const transfer = { sas, signed: false, register: 0, wide: bytes === 8, ordered: false };
      const described = sas >= 0 && fault.access !== 'fetch';
      esr = this.world.config.backend.faults.abort?.(fault, { from: 1, to: 2, va: 0n, write, ...(described && { transfer }) }).esr ?? 0n;
      this.#syndromes.set(key, esr);
    }
    return esr;
  }
}

const FAULTS: readonly FaultValue['type'][] = ['translation', 'access-flag', 'permission'];

/** What the policy made of an abort, under the names of `Counts.answers`. */
export function answerName(outcome: Outcome<Handled>): string {
  if (outcome.kind !== 'done') {
    return outcome.kind === 'retry' ? 'retry' : outcome.id;
  }
  const handled = outcome.value;
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
    case 'signalled':
    case 'host-external-abort':
      return handled.did;
  }
}
