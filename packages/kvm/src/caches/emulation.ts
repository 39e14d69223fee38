import type { Vcpu, Vm } from '../vm.js';

/** A trapped DC by set/way, with its operand. */
export interface SetWayOperation {
  readonly op: 'isw' | 'csw' | 'cisw';
  /** As the register of the instruction has it. */
  readonly operand: number;
}

/** What the guest comes to see of a trapped operation: nothing, or an Undefined Instruction exception. */
export type CacheAnswer = 'done' | 'undefined';

/** How set/way operations and cache toggling of a guest are emulated. */
export interface CacheEmulation {
  readonly name: 'linux' | 'per-cpu' | 'xen-deferred';
  /** A trapped DC by set/way. */
  setWay(vm: Vm, vcpu: Vcpu, pc: bigint, operation?: SetWayOperation): CacheAnswer;
  /** A write to SCTLR, TTBR, TCR, MAIR, … , while it traps; `now`: caches on after it. */
  vmRegister(vm: Vm, vcpu: Vcpu, pc: bigint, now: boolean): void;
  /** The vCPU is put on a PE. */
  load?(vm: Vm, vcpu: Vcpu, pe: number): void;
  /** Before the guest is entered again. */
  beforeEntry?(vm: Vm): void;
}
