import type { FaultValue } from '@granule/contract';
import { armv7Lpae } from '@granule/armv7-lpae';
import { createTableArena } from '@granule/memory';
import { describe, expect, it } from 'vitest';
import {
  abortRegisters, Backing, createVm, DeferredCaches, guestAbort, type Handled, kernelProfile, PerCpuCaches, setMemoryRegion, trapHandler,
  type TrapHandlerOptions, trappedOperation, TVM_REGISTERS, TVM_VIEWS, VmidAllocator,
} from '../src/index.js';
import { bench, type Bench, esr, G, PERMISSION, TRANSLATION, valueOf, withMemory } from './support.js';

const HPFAR = (ipa: number): bigint => (BigInt(ipa) >> 12n) << 4n;

describe('the address of an abort', () => {
  const none = (): undefined => undefined;

  it.each([
    ['translation', esr(TRANSLATION + 3)],
    ['access flag', esr(9)],
    ['address size', esr(1)],
    ['permission on a stage-1 walk', esr(PERMISSION + 3, { s1ptw: true })],
  ])('is in HPFAR_EL2 for a fault of %s', (_, code) => {
    expect(valueOf(abortRegisters({ esr: code, far: 0xffff_0000_1234_5678n, hpfar: HPFAR(0xf_ffff_abcd_e000) }, none))).toMatchObject({ ipa: 0xf_ffff_abcd_e000 });
  });

  it('is asked of stage 1 for a permission fault, whatever HPFAR_EL2 says', () => {
    const asked: bigint[] = [];
    const registers = valueOf(abortRegisters({ esr: esr(PERMISSION + 3, { write: true }), far: 0x1234_5678n, hpfar: 0x666_0000n }, (va) => {
      asked.push(va);
      return 0x4000_0678;
    }));
    expect([registers.ipa, asked]).toEqual([0x4000_0000, [0x1234_5678n]]);
  });

  it('that stage 1 no longer has sends the guest back', () => {
    expect(abortRegisters({ esr: esr(PERMISSION + 3), far: 0n }, none)).toMatchObject({ kind: 'retry', id: 'abort.retranslated' });
  });

  it('is needed for nothing in an external abort', () => {
    expect(valueOf(abortRegisters({ esr: esr(0x10), far: 0n }, none)).ipa).toBe(0);
  });
});

describe('instructions that HCR traps', () => {
  it.each([
    ['DC ISW', 'isw'], ['CSW', 'csw'], ['CISW', 'cisw'], ['DCISW', 'isw'], ['DCCSW', 'csw'], ['DCCISW', 'cisw'],
  ])('%s is by set/way', (name, op) => {
    expect(trappedOperation(name, false)).toEqual({ kind: 'set-way', op });
  });

  it.each(['IGSW', 'IGDSW', 'CGSW', 'CGDSW', 'CIGSW', 'CIGDSW'])('%s is undefined to a VM without tags', (name) => {
    expect(trappedOperation(name, false)).toEqual({ kind: 'undefined' });
    expect(trappedOperation(name, true)?.kind).toBe('set-way');
  });

  it('of AArch32 write halves of 64-bit registers, or the whole', () => {
    expect(trappedOperation('MAIR1', false)).toEqual({ kind: 'vm-register', register: 'MAIR_EL1', caches: false, half: 'high' });
    expect(trappedOperation('SCTLR', false)).toEqual({ kind: 'vm-register', register: 'SCTLR_EL1', caches: true });
    expect(Object.values(TVM_VIEWS).map(([register]) => register).filter((each) => each.endsWith('_EL1') && !TVM_REGISTERS.includes(each))).toEqual([]);
  });

  it.each(['VBAR_EL1', 'TPIDR_EL1', 'CVAC', 'DC CIVAC'])('%s is not among them', (name) => {
    expect(trappedOperation(name, false)).toBeUndefined();
  });
});

interface HandledBench {
  readonly on: Bench;
  readonly registers: Map<string, bigint>;
  readonly outcomes: Handled[];
  readonly handler: ReturnType<typeof trapHandler>;
}

function handlerOf(on: Bench, options: Partial<TrapHandlerOptions> = {}): HandledBench {
  const registers = new Map<string, bigint>();
  const outcomes: Handled[] = [];
  const handler = trapHandler({
    running: () => on,
    registers: { read: (_, name) => registers.get(name) ?? 0n, write: (_, name, value) => registers.set(name, value) },
    handled: (_, outcome) => outcomes.push(valueOf(outcome)),
    ...options,
  });
  return { on, registers, outcomes, handler };
}

const fault = (change: Partial<FaultValue>): FaultValue => ({ type: 'translation', level: 1, stage: 2, s1ptw: false, access: 'read', address: 0x8000, upper: false, ipa: G, ...change });
const M_C = 0b101n;

describe('KVM as the handler of traps', () => {
  it('maps what faults, and has the guest try again', () => {
    const { on, handler, outcomes } = handlerOf(bench());
    withMemory(on);
    expect(handler.trap(0, { kind: 'abort', fault: fault({ access: 'write' }), write: true, bytes: 8 })).toEqual({ kind: 'retry' });
    expect(outcomes).toEqual([{ did: 'mapped', address: G, bytes: 2 ** 21 }]);
  });

  it('asks a device for what has no memory, by its IPA with the offset in the page', () => {
    const asked: unknown[] = [];
    const { handler } = handlerOf(bench(), { mmio: (_, access) => { asked.push(access); return 7n; } });
    expect(handler.trap(0, { kind: 'abort', fault: fault({ ipa: 0x900_0000, address: 0x1010 }), write: false, bytes: 4 })).toEqual({ kind: 'skip', value: 7n });
    expect(handler.trap(0, { kind: 'abort', fault: fault({ ipa: 0x900_0000, access: 'write' }), write: true, bytes: 4, value: 3n })).toEqual({ kind: 'skip' });
    expect(asked).toEqual([{ address: 0x900_0010, write: false, bytes: 4 }, { address: 0x900_0000, write: true, bytes: 4, value: 3n }]);
  });

  it('skips cache maintenance of no memory, and gives the guest a fetch of it', () => {
    const { handler } = handlerOf(bench());
    const at = { ipa: 0x900_0000 };
    expect(handler.trap(0, { kind: 'abort', fault: fault({ ...at, access: 'cache-maintenance' }), write: false, bytes: 1 })).toEqual({ kind: 'skip' });
    expect(handler.trap(0, { kind: 'abort', fault: fault({ ...at, access: 'fetch' }), write: false, bytes: 4 })).toEqual({ kind: 'deliver' });
  });

  it('translates again where the hardware does not tell the IPA, and just goes on where that fails', () => {
    const asked: bigint[] = [];
    const on = bench();
    const handler = trapHandler({ running: () => on, registers: { read: () => 0n, write: () => undefined }, translate: (_, va) => { asked.push(va); return undefined; } });
    expect(handler.trap(0, { kind: 'abort', fault: fault({ type: 'permission', level: 3, access: 'write' }), write: true, bytes: 8 })).toEqual({ kind: 'retry' });
    expect(asked).toEqual([0x8000n]);
  });

  it('flushes at the first set/way operation and arms TVM; a write of SCTLR that switches caches on flushes again and disarms it', () => {
    const { on, handler, registers } = handlerOf(bench());
    withMemory(on);
    on.vcpu.tvm = false;
    registers.set('SCTLR_EL1', M_C);
    expect(handler.trap(0, { kind: 'operation', name: 'CISW', operand: 0n })).toEqual({ kind: 'skip' });
    expect(on.vcpu).toMatchObject({ tvm: true, cachesOn: true });
    handler.trap(0, { kind: 'operation', name: 'SCTLR_EL1', operand: 0n });
    expect([on.vcpu.tvm, registers.get('SCTLR_EL1')]).toEqual([true, 0n]);
    handler.trap(0, { kind: 'operation', name: 'SCTLR_EL1', operand: M_C });
    expect(on.vcpu.tvm).toBe(false);
    expect(on.told().filter((text) => text === 'stage2_flush_vm')).toHaveLength(3);
  });

  it('merges a half that AArch32 writes, and leaves the caches as they were', () => {
    const { handler, registers } = handlerOf(bench());
    registers.set('MAIR_EL1', 0x1111_1111_2222_2222n);
    handler.trap(0, { kind: 'operation', name: 'MAIR1', operand: 0xff44_0000n });
    handler.trap(0, { kind: 'operation', name: 'PRRR', operand: 0x0000_00ffn });
    expect(registers.get('MAIR_EL1')).toBe(0xff44_0000_0000_00ffn);
  });

  it('gives the guest what it does not know, and set/way operations where an IOMMU shares the tables of Xen', () => {
    expect(handlerOf(bench()).handler.trap(0, { kind: 'operation', name: 'VBAR_EL1' })).toEqual({ kind: 'deliver' });
    const shared = handlerOf(bench(), { caches: new DeferredCaches({ sharedWithIommu: true }) });
    expect(shared.handler.trap(0, { kind: 'operation', name: 'ISW', operand: 0n })).toEqual({ kind: 'deliver' });
  });

  it('hands the operand of a set/way operation to an emulation that executes it', () => {
    const { on, handler } = handlerOf(bench(), { caches: new PerCpuCaches(2, [0, 64]) });
    handler.trap(0, { kind: 'operation', name: 'DC CSW', operand: 0x1000_0040n });
    expect(on.sink.effects.at(-1)).toEqual({ type: 'cmo', op: 'dc-csw', to: 'poc', address: 0x1000_0040, bytes: 0 });
  });
});

describe('KVM on a 32-bit host', () => {
  it('takes HSR and HPFAR of ARMv7, writes CP15 registers by their names, and invalidates the whole VMID for an entry', () => {
    const hostMemory = new Backing(4096);
    hostMemory.add({ start: 0, bytes: G, kind: 'anonymous', pageBytes: 4096, memory: 'normal', writable: true, physical: 2 * G, leafBytes: 2 ** 21 });
    const on = bench();
    const vm = valueOf(createVm({
      backend: armv7Lpae, kernel: kernelProfile('4.8'), host: { granule: '4K', vaBits: 32, features: armv7Lpae.registers.features({}), hardwareAccessFlag: false, tlbRange: false },
      memory: createTableArena({ pageShift: 12 }), hostMemory, vmids: new VmidAllocator(8), sink: on.sink,
    }));
    const vcpu = vm.addVcpu();
    valueOf(setMemoryRegion(vm, { slot: 0, ipa: 2 ** 39, size: G, hva: 0 }));
    const { handler, registers, outcomes } = handlerOf({ ...on, vm, vcpu });
    expect(handler.trap(0, { kind: 'abort', fault: fault({ ipa: 2 ** 39 + 0x3000 }), write: false, bytes: 4 })).toEqual({ kind: 'retry' });
    expect(outcomes).toEqual([{ did: 'mapped', address: 2 ** 39, bytes: 2 ** 21 }]);
    handler.trap(0, { kind: 'operation', name: 'SCTLR', operand: M_C });
    expect([registers.get('SCTLR'), vcpu.tvm]).toEqual([M_C, false]);
    on.sink.reset();
    valueOf(guestAbort(vm, vcpu, { esr: esr(PERMISSION + 2, { write: true }), far: 0n, ipa: 2 ** 39 + 0x3000 }));
    expect(on.sink.tlbi).toEqual({ TLBIALL: 1 });
  });
});
