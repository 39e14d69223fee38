import { AdversarialTlb, allSetWays, encodeSetWay, FiniteTlb, Machine, type Pe, type PeAnswer } from '@granule/cache-tlb';
import {
  type Effect, type EffectSink, type Failure, type FaultValue, type Format, type Outcome, type Registers, type TlbModel, type Trap, type TrapAnswer, type TrapHandler,
  refused,
} from '@granule/contract';
import { SparseMemory } from '@granule/memory';
import type { Vcpu, Vm } from '@granule/kvm';
import type { MachineSpec } from '../machine-schema.js';
import { SCENARIO_SCHEMA } from '../scenario.js';
import { type Answer, Aborts } from './aborts.js';
import { archNames, type ArchNames, cachesOn, hcrOf, registerName, resetRegisters, vttbrOf } from './arch.js';
import { random } from './random.js';
import type { GuestAccess, GuestSide, Seen, World } from './world.js';

const SET_WAY = { ISW: 'ISW', CSW: 'CSW', CISW: 'CISW' } as const;

/**
 * Guests on modelled hardware: each access goes through the TLB, the caches and the tables of a PE; what stage 2 does not let through, and what HCR traps, comes
 * to the policy by exceptions; and what the policy does, the PE on which it runs does to memory, TLBs and caches.
 */
export class MachineSide implements GuestSide, TrapHandler {
  readonly machine: Machine;
  readonly #aborts: Aborts;
  readonly #names: ArchNames;
  readonly #places: number[] = [];
  /** By PE: who runs there. */
  readonly #loaded: (Vcpu | undefined)[] = [];
  /** Registers of vCPUs that run nowhere. */
  readonly #saved: (Registers | undefined)[] = [];
  /** The hypervisor is at work: what is written is its own. */
  #hosting = false;
  #answer: Answer | undefined;
  #mismatch: bigint | undefined;
  /** The VM that a PE is to run for a moment instead. */
  #visitor: { readonly vm: Vm; readonly vcpu: Vcpu } | undefined;

  constructor(private readonly world: World) {
    const { config, scenario } = world;
    this.#names = archNames(config.backend);
    this.#aborts = new Aborts(world);
    const registers = resetRegisters(config.backend);
    const { seed } = scenario.machine ?? {};
    this.machine = new Machine({
      backend: config.backend,
      features: config.features,
      memory: memoryOf(world),
      pes: Array.from({ length: config.pes }, () => ({ registers, tlb: tlbOf(scenario.machine ?? {}) })),
      handler: this,
      listener: { effect: (effect) => this.#heard(effect) },
      ...(config.caches === undefined ? {} : { caches: config.caches }),
      ...(seed === undefined ? {} : { choose: random(seed) }),
    });
  }

  sinkOf(vm: () => Vm | undefined, format: Format): EffectSink {
    const { world, machine } = this;
    const sinks = machine.pes.map((pe) => pe.tables(format));
    return {
      effect: (effect) => {
        if (effect.type === 'tlbi' && this.#names.everyVmid.includes(effect.op)) {
          world.installed.rollover();
        }
        const hosting = this.#hosting;
        this.#hosting = true;
        if (effect.type === 'cmo' && effect.op === 'dc-cisw' && effect.bytes === 0) {
          this.#flushAll(machine.pes[world.pe]);
        } else {
          sinks[world.pe].effect(tagged(effect, vm()?.vmid));
        }
        this.#hosting = hosting;
      },
    };
  }

  /** flush_cache_all of old kernels: every set and way of this PE's L1 and of the level behind it. A system cache is not reached. */
  #flushAll(pe: Pe): void {
    const { caches, line } = this.world.config;
    for (const [level, shape] of [caches?.data, caches?.outer].entries()) {
      for (const each of shape === undefined ? [] : allSetWays(level + 1, shape)) {
        pe.maintenance.bySetWay('CISW', encodeSetWay(each, shape!, line) / 16, level);
      }
    }
    pe.tell({ type: 'cmo', op: 'dc-cisw', to: 'poc', address: 0, bytes: 0 });
  }

  tell(effect: Effect): void {
    this.machine.tell(effect);
  }

  peOf({ id }: Vcpu): number {
    return this.#places[id] ?? id % this.machine.pes.length;
  }

  runOn(vcpu: Vcpu, pe: number): void {
    if (this.peOf(vcpu) !== pe) {
      this.#leave(this.peOf(vcpu), vcpu);
      this.#places[vcpu.id] = pe;
    }
  }

  access(vcpu: Vcpu, { type, at, bytes, value, privileged }: GuestAccess): Seen {
    const pe = this.enter(vcpu);
    const answer = this.#asked(() => pe.access({ regime: this.#names.guest, type, privileged, address: BigInt(at), bytes, ...(value === undefined ? {} : { value }), ...(type.startsWith('at') ? { stages: 'one' as const } : {}) }));
    return answer;
  }

  /** Maintenance by VA, which may fault as an access does. */
  maintain(vcpu: Vcpu, op: 'CIVAC' | 'CVAC' | 'IVAC' | 'CVAU' | 'ZVA' | 'IVAU', at: number): Seen {
    const pe = this.enter(vcpu);
    return this.#asked(() => pe.maintenance.byAddress(op, this.#names.guest, BigInt(at), 'el1'));
  }

  visit(vm: Vm, pe: number, ipa: number | undefined): Failure | undefined {
    const { world } = this;
    const here = this.#loaded[pe];
    if (here !== undefined) {
      this.#leave(pe, here);
    }
    world.pe = pe;
    const [vcpu = vm.addVcpu()] = vm.vcpus;
    this.#load(vm, vcpu, pe, resetRegisters(world.config.backend));
    this.#visitor = { vm, vcpu };
    const seen = ipa === undefined ? undefined : this.#asked(() => this.machine.pes[pe].read(this.#names.guest, BigInt(ipa)));
    this.#visitor = undefined;
    world.installed.leave(vm, pe);
    world.vmids.leave(pe);
    return seen?.kind === 'failed' ? seen.failure : undefined;
  }

  register(vcpu: Vcpu, asked: string, value: bigint): Failure | undefined {
    const { backend } = this.world.config;
    const name = registerName(backend, asked);
    if (!backend.registers.names.includes(name) && !this.#names.vmRegisters.includes(name)) {
      return refused('scenario.register', `${name} is no register that ${backend.name} knows.`, SCENARIO_SCHEMA);
    }
    const pe = this.enter(vcpu);
    if (this.#names.vmRegisters.includes(name)) {
      pe.maintenance.guestRegister(name, value);
    } else {
      pe.writeRegister(name, value);
    }
    pe.isb();
    vcpu.cachesOn = cachesOn(backend, pe.registers[this.#names.sctlr] ?? 0n);
    return undefined;
  }

  setWay(vcpu: Vcpu, op: 'ISW' | 'CSW' | 'CISW', operand: number | undefined): void {
    const pe = this.enter(vcpu);
    const shape = this.world.config.caches?.data;
    const operands = operand !== undefined ? [operand] : shape === undefined ? [0] : allSetWays(1, shape).map((each) => encodeSetWay(each, shape, this.world.config.line) / 16);
    for (const each of operands) {
      pe.maintenance.bySetWay(SET_WAY[op], each, 0, 'el1');
    }
  }

  installHyp(registers: Registers): void {
    for (const pe of this.machine.pes) {
      Object.entries(registers).forEach(([name, value]) => pe.writeRegister(name, value));
      pe.isb();
    }
  }

  /** An access of the hypervisor itself. */
  asHyp(pe: number, type: 'read' | 'write' | 'fetch', address: number): Seen {
    this.world.pe = pe;
    return this.#asked(() => this.machine.pes[pe].access({ regime: this.#names.hyp, type, privileged: true, address: BigInt(address), bytes: 4 }));
  }

  reset(vcpu: Vcpu): void {
    const pe = this.enter(vcpu);
    for (const [name, value] of Object.entries(resetRegisters(this.world.config.backend))) {
      pe.writeRegister(name, value);
    }
    this.#trapsOf(pe, this.world.vm, vcpu);
    vcpu.cachesOn = false;
  }

  /** The vCPU runs on its PE. */
  enter(vcpu: Vcpu): Pe {
    const at = this.peOf(vcpu);
    const { world } = this;
    world.pe = at;
    const here = this.#loaded[at];
    if (here !== vcpu) {
      if (here !== undefined) {
        this.#leave(at, here);
      }
      this.#loaded[at] = vcpu;
      this.#load(world.vm, vcpu, at, this.#saved[vcpu.id] ?? resetRegisters(world.config.backend));
    }
    world.emulation.beforeEntry?.(world.vm);
    return this.machine.pes[at];
  }

  trap(index: number, trap: Trap): TrapAnswer {
    const { world } = this;
    world.pe = index;
    const { vm, vcpu } = this.#visitor ?? { vm: world.vm, vcpu: this.#loaded[index]! };
    const answer = trap.kind === 'abort' ? this.#abort(vm, vcpu, trap) : this.#operation(vm, vcpu, trap);
    world.emulation.beforeEntry?.(world.vm);
    this.#trapsOf(this.machine.pes[index], vm, vcpu);
    return answer;
  }

  #abort(vm: Vm, vcpu: Vcpu, { fault, write, bytes }: Trap & { readonly kind: 'abort' }): TrapAnswer {
    const answer = (this.#answer = this.#aborts.handle(vm, vcpu, fault, { va: BigInt(fault.address), write, bytes }));
    if (answer.kind !== 'handled') {
      return { kind: answer.kind === 'retry' ? 'retry' : 'deliver' };
    }
    switch (answer.handled.did) {
      case 'mapped':
      case 'relaxed':
      case 'made-young':
        return { kind: 'retry' };
      case 'mmio':
      case 'skipped':
        return { kind: 'skip', value: 0n };
      case 'injected':
      case 'forwarded':
      case 'host-external-abort':
        return { kind: 'deliver' };
    }
  }

  #operation(vm: Vm, vcpu: Vcpu, { name, operand = 0n }: Trap & { readonly kind: 'operation' }): TrapAnswer {
    const { emulation, recorder, config } = this.world;
    recorder.tally.trap(name);
    if (Object.hasOwn(SET_WAY, name)) {
      emulation.setWay(vm, vcpu, 0n);
      return { kind: 'skip' };
    }
    const now = name === this.#names.sctlr ? cachesOn(config.backend, operand) : vcpu.cachesOn;
    this.machine.pes[this.world.pe].writeRegister(name, operand);
    emulation.vmRegister(vm, vcpu, 0n, now);
    return { kind: 'skip' };
  }

  /** An access, and what the guest sees of it. */
  #asked(access: () => PeAnswer): Seen {
    this.#answer = undefined;
    this.#mismatch = undefined;
    const answer = access();
    const policy: Answer | undefined = this.#answer;
    switch (answer.kind) {
      case 'done':
        return {
          kind: 'done', times: 1, output: answer.output, ...(answer.value === undefined ? {} : { value: answer.value }),
          ...(this.#mismatch === undefined ? {} : { expected: this.#mismatch }),
        };
      case 'skipped':
        return isMmio(policy) ? { kind: 'mmio' } : { kind: 'done', times: 1 };
      case 'fault':
        return this.#faulted(answer.fault, policy);
      case 'refused':
      case 'not-modelled':
        return { kind: 'failed', failure: answer };
    }
  }

  #faulted(fault: FaultValue, policy: Answer | undefined): Seen {
    if (fault.stage === 2 && policy?.kind === 'failed') {
      return { kind: 'failed', failure: policy.failure };
    }
    const injected = policy?.kind === 'handled' && policy.handled.did === 'injected' ? policy.handled.exception : undefined;
    return { kind: 'fault', fault, ...(injected === undefined ? {} : { injected }) };
  }

  #leave(pe: number, vcpu: Vcpu): void {
    if (this.#loaded[pe] !== vcpu) {
      return;
    }
    const { registers } = this.machine.pes[pe];
    this.#saved[vcpu.id] = Object.fromEntries(this.#names.guestRegisters.flatMap((name) => (registers[name] === undefined ? [] : [[name, registers[name]]])));
    this.#loaded[pe] = undefined;
    this.world.installed.leave(this.world.vm, pe);
    this.world.vmids.leave(pe);
  }

  #load(vm: Vm, vcpu: Vcpu, index: number, registers: Registers): void {
    const { world } = this;
    const pe = this.machine.pes[index];
    for (const [name, value] of Object.entries(registers)) {
      pe.writeRegister(name, value);
    }
    pe.writeRegister(this.#names.vtcr, vm.vtcr);
    vm.load(vcpu, index);
    world.installed.enter(vm, index);
    pe.writeRegister(this.#names.vttbr, must(vttbrOf(vm)));
    this.#trapsOf(pe, vm, vcpu);
    pe.isb();
    const { emulation } = world;
    if (vm === world.vm && 'load' in emulation && typeof emulation.load === 'function') {
      (emulation.load as (vm: Vm, vcpu: Vcpu, pe: number) => void)(vm, vcpu, index);
    }
  }

  /** HCR with TVM as it stands. */
  #trapsOf(pe: Pe, vm: Vm, vcpu: Vcpu): void {
    const hcr = hcrOf(vm, vcpu);
    if (pe.registers[this.#names.hcr] !== hcr) {
      pe.writeRegister(this.#names.hcr, hcr);
      pe.isb();
    }
  }

  #heard(effect: Effect): void {
    const { recorder, arena } = this.world;
    if (effect.type === 'access') {
      this.#mismatch = effect.mismatch?.expected;
    } else if (effect.type === 'write' && !this.#hosting) {
      // Hardware set an access flag: the hypervisor reads its tables where hardware writes them.
      const word = arena.wordOf(effect.table + effect.index * 8, 8);
      if (word >= 0) {
        arena.words.set(effect.new, word);
      }
    }
    recorder.effect(effect);
  }
}

function isMmio(policy: Answer | undefined): boolean {
  return policy?.kind === 'handled' && policy.handled.did === 'mmio';
}

function tlbOf({ tlb = 'adversarial' }: MachineSpec): TlbModel {
  if (tlb === 'adversarial') {
    return new AdversarialTlb();
  }
  const { leaves, tables } = tlb;
  const stages = ['stage1', 'stage2', 'combined'] as const;
  const array = (name: string, kind: 'leaf' | 'table', shape: { readonly sets: number; readonly ways: number }) => ({ name, kind, stages, replacement: 'lru' as const, ...shape });
  return new FiniteTlb({ arrays: [array('leaves', 'leaf', leaves), ...(tables === undefined ? [] : [array('tables', 'table', tables)])] });
}

/** Memory of the scenario and room for table pages. */
function memoryOf({ config }: World): SparseMemory {
  const memory = new SparseMemory();
  for (const { start, bytes } of [...config.memory, config.tables]) {
    must(memory.addZeroed(start, bytes));
  }
  return memory;
}

/** The VMID in force on every invalidation that names none. */
function tagged(effect: Effect, vmid: number | undefined): Effect {
  if (vmid === undefined) {
    return effect;
  }
  if (effect.type === 'tlbi') {
    return effect.vmid === undefined ? { ...effect, vmid } : effect;
  }
  if (effect.type !== 'write') {
    return effect;
  }
  const each = (list: NonNullable<typeof effect.before>) => list.map((one) => (one.type === 'tlbi' && one.vmid === undefined ? { ...one, vmid } : one));
  return { ...effect, ...(effect.before && { before: each(effect.before) }), ...(effect.after && { after: each(effect.after) }) };
}

function must<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'done') {
    throw new RangeError(outcome.sentence);
  }
  return outcome.value;
}

