import type { FaultValue, Outcome, Trap, TrapAnswer, TrapHandler } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import { guestAbort, type Handled } from './abort.js';
import { type CacheEmulation, cachesEnabled, linuxCaches, trappedOperation } from './caches/index.js';
import { abortRegisters } from './fault-address.js';
import type { AbortRegisters } from './syndrome.js';
import type { Vcpu, Vm } from './vm.js';

/** A vCPU that runs on a PE. */
export interface Running {
  readonly vm: Vm;
  readonly vcpu: Vcpu;
}

export interface TrapHandlerOptions {
  /** Who runs on a PE. */
  readonly running: (pe: number) => Running;
  /** Registers of a PE by their Arm names, absent ones 0. */
  readonly registers: { read(pe: number, name: string): bigint; write(pe: number, name: string, value: bigint): void };
  /** Default: today's. */
  readonly caches?: CacheEmulation;
  /** A device answers an access without memory; what a load gets. Absent: loads get 0. */
  readonly mmio?: (pe: number, access: { readonly address: InputAddress; readonly write: boolean; readonly bytes: number; readonly value?: bigint }) => bigint;
  /**
   * The IPA of a VA by the guest's stage 1, where HPFAR does not have it; undefined: none. Absent: the IPA of the fault itself, as if nothing had changed since.
   */
  readonly translate?: (pe: number, va: bigint) => InputAddress | undefined;
  /** Told what came of each abort; one that KVM_RUN would fail with is given to the guest, since somebody must have it. */
  readonly handled?: (pe: number, outcome: Outcome<Handled>) => void;
  /** Before the guest is entered again: HCR may have changed ({@link Vm.registersOf}). */
  readonly beforeEntry?: (pe: number, running: Running) => void;
}

/**
 * KVM as a PE sees it: what it does with an abort from the guest and with an instruction that HCR traps. An operation that nothing is asked about is given to the
 * guest. @throws RangeError where the backend makes no syndromes
 */
export function trapHandler(options: TrapHandlerOptions): TrapHandler {
  const { caches = linuxCaches } = options;
  return {
    trap(pe, trap) {
      const running = options.running(pe);
      const answer = trap.kind === 'abort' ? abort(options, pe, running, trap) : operation(options, caches, pe, running, trap);
      caches.beforeEntry?.(running.vm);
      options.beforeEntry?.(pe, running);
      return answer;
    },
  };
}

const RETRY: TrapAnswer = { kind: 'retry' };
const DELIVER: TrapAnswer = { kind: 'deliver' };

function abort(options: TrapHandlerOptions, pe: number, { vm, vcpu }: Running, trap: Trap & { readonly kind: 'abort' }): TrapAnswer {
  const registers = registersOf(options, pe, vm, trap);
  const outcome = registers.kind === 'done' ? guestAbort(vm, vcpu, registers.value) : registers;
  options.handled?.(pe, outcome);
  if (outcome.kind !== 'done') {
    return outcome.kind === 'retry' ? RETRY : DELIVER;
  }
  switch (outcome.value.did) {
    case 'mapped':
    case 'relaxed':
    case 'made-young':
      return RETRY;
    case 'skipped':
      return { kind: 'skip' };
    case 'mmio': {
      const { address, write } = outcome.value;
      const value = options.mmio?.(pe, { address, write, bytes: trap.bytes, ...(trap.value !== undefined && { value: trap.value }) }) ?? 0n;
      return write ? { kind: 'skip' } : { kind: 'skip', value };
    }
    case 'injected':
    case 'forwarded':
    case 'signalled':
    case 'host-external-abort':
      return DELIVER;
  }
}

/** The syndrome that the hardware would leave, read back as KVM reads it. */
function registersOf(options: TrapHandlerOptions, pe: number, vm: Vm, { fault, write, bytes }: Trap & { readonly kind: 'abort' }): Outcome<AbortRegisters> {
  const { faults } = vm.options.backend;
  if (faults.abort === undefined) {
    throw new RangeError(`backend ${vm.options.backend.name} makes no syndromes`);
  }
  const sas = [1, 2, 4, 8].indexOf(bytes);
  const transfer = { sas, signed: false, register: 0, wide: bytes === 8, ordered: false };
  const { esr, far, hpfar } = faults.abort(fault, {
    from: 1, to: 2, va: BigInt(fault.address), write, maintenance: fault.access === 'cache-maintenance', ...(sas >= 0 && isData(fault) && { transfer }),
  });
  const { translate = () => fault.ipa } = options;
  return abortRegisters({ esr, far, ...(hpfar !== undefined && { hpfar }) }, (va) => translate(pe, va));
}

function isData({ access }: FaultValue): boolean {
  return access === 'read' || access === 'write';
}

function operation(
  options: TrapHandlerOptions,
  caches: CacheEmulation,
  pe: number,
  { vm, vcpu }: Running,
  { name, operand = 0n }: Trap & { readonly kind: 'operation' },
): TrapAnswer {
  const { registers } = options;
  const trapped = trappedOperation(name, vm.options.mte === true);
  if (trapped === undefined || trapped.kind === 'undefined') {
    return DELIVER;
  }
  const sctlr = vm.isAarch32 ? 'SCTLR' : 'SCTLR_EL1';
  vcpu.cachesOn = cachesEnabled(registers.read(pe, sctlr));
  if (trapped.kind === 'set-way') {
    return caches.setWay(vm, vcpu, 0n, { op: trapped.op, operand: Number(operand) }) === 'undefined' ? DELIVER : { kind: 'skip' };
  }
  // As access_vm_reg: the register is written first, a half of it merged into the whole.
  const register = vm.isAarch32 ? name : trapped.register;
  registers.write(pe, register, vm.isAarch32 ? operand : merged(registers.read(pe, register), operand, trapped.half));
  caches.vmRegister(vm, vcpu, 0n, cachesEnabled(registers.read(pe, sctlr)));
  return { kind: 'skip' };
}

const LOW = 0xffff_ffffn;

function merged(old: bigint, value: bigint, half: 'low' | 'high' | undefined): bigint {
  if (half === undefined) {
    return value;
  }
  return half === 'low' ? (old & ~LOW) | (value & LOW) : (old & LOW) | ((value & LOW) << 32n);
}
