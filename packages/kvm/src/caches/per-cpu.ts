import type { Vcpu, Vm } from '../vm.js';
import type { CacheAnswer, CacheEmulation, SetWayOperation } from './emulation.js';

/** DC CISW of set 0, way 0, level 1: what stands for an operation of which the operand is not told. */
const SOME_LINE = { op: 'cisw', operand: 0 } as const;

/**
 * Before 2015: the operation is done on this PE alone, an invalidation as a clean and invalidation (what HCR.SWIO makes of it too); where the vCPU has moved
 * since it last ran, all of this PE's caches are flushed instead. Every other PE owes a flush (require_dcache_flush) and pays when this vCPU next runs there.
 * It misses what speculation brings back, what other PEs hold until then, and what system caches hold. Source: Linux 3.19 arch/arm/kvm/coproc.c access_dcsw,
 * kvm_arch_vcpu_load.
 */
export class PerCpuCaches implements CacheEmulation {
  readonly name = 'per-cpu';
  /** By vCPU: PEs that owe a flush. */
  readonly #owed = new Map<number, Set<number>>();
  readonly #pes: number;
  /** By vCPU: the PE it is on, and the one on which it last ran the guest (last_pcpu). */
  readonly #at = new Map<number, number>();
  readonly #lastRan = new Map<number, number>();
  readonly #all: readonly number[];

  /** @param allLines operands of DC CISW for every line of a PE's caches: what flush_cache_all does; default one line */
  constructor(pes: number, allLines: readonly number[] = [SOME_LINE.operand]) {
    this.#pes = pes;
    this.#all = allLines;
  }

  setWay(vm: Vm, vcpu: Vcpu, _pc?: bigint, operation: SetWayOperation = SOME_LINE): CacheAnswer {
    const here = this.#at.get(vcpu.id) ?? 0;
    this.#owed.set(vcpu.id, new Set(Array.from({ length: this.#pes }, (_, pe) => pe).filter((pe) => pe !== here)));
    if ((this.#lastRan.get(vcpu.id) ?? here) === here) {
      maintain(vm, operation.op === 'csw' ? 'dc-csw' : 'dc-cisw', operation.operand);
    } else {
      this.#flushAll(vm);
    }
    return 'done';
  }

  vmRegister(): void {
    // Nothing follows a toggle.
  }

  load(vm: Vm, vcpu: Vcpu, pe: number): void {
    this.#at.set(vcpu.id, pe);
    if (this.#owed.get(vcpu.id)?.delete(pe) === true) {
      this.#flushAll(vm);
    }
  }

  /** The vCPU has run the guest where it is. */
  ran(vcpu: Vcpu): void {
    this.#lastRan.set(vcpu.id, this.#at.get(vcpu.id) ?? 0);
  }

  #flushAll(vm: Vm): void {
    this.#all.forEach((operand) => maintain(vm, 'dc-cisw', operand));
  }
}

function maintain(vm: Vm, op: 'dc-csw' | 'dc-cisw', operand: number): void {
  vm.options.sink?.effect({ type: 'cmo', op, to: 'poc', address: operand, bytes: 0 });
}
