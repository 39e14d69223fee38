import { AdversarialTlb, allSetWays, cachePolicy, encodeSetWay, FiniteTlb, Machine, type Pe, type PeAnswer } from '@granule/cache-tlb';
import { type Effect, type EffectSink, type Failure, type FaultValue, type Format, type Outcome, type Registers, type TlbModel, type TrapHandler, refused } from '@granule/contract';
import { SparseMemory } from '@granule/memory';
import { cachesEnabled, type Handled, PerCpuCaches, trapHandler, type Vcpu, type Vm } from '@granule/kvm';
import type { MachineSpec } from '../machine-schema.js';
import { SCENARIO_SCHEMA } from '../scenario.js';
import { answerName } from './aborts.js';
import { archNames, type ArchNames, isVmRegister, registerName, resetRegisters } from './arch.js';
import { valueOf } from './bytes.js';
import type { HostView } from './nested/scenario-hypervisor.js';
import { random } from './random.js';
import type { GuestAccess, GuestSide, Seen, World } from './world.js';

/** The host's own mapping: Normal, Inner Shareable, Write-Back. */
const CACHEABLE = cachePolicy(0xff, 3, false, { dataCache: true, instructionCache: true });

/**
 * Guests on modelled hardware: each access goes through the TLB, the caches and the tables of a PE; what stage 2 does not let through, and what HCR traps, comes
 * to the policy by exceptions; and what the policy does, the PE on which it runs does to memory, TLBs and caches.
 */
export class MachineSide implements GuestSide {
  readonly machine: Machine;
  readonly #names: ArchNames;
  readonly #places: number[] = [];
  /** By PE: who runs there. */
  readonly #loaded: (Vcpu | undefined)[] = [];
  /** Registers of vCPUs that run nowhere, and those of the level at which a vCPU with a virtual EL2 is not. */
  readonly #saved: Readonly<Record<GuestLevel, Map<Vcpu, Registers>>> = { 'el1': new Map(), 'virtual-el2': new Map() };
  /** Of which level a PE has a vCPU's registers. */
  readonly #levels = new Map<Vcpu, GuestLevel>();
  /** The hypervisor is at work: what is written is its own. */
  #hosting = false;
  /** What the policy made of the last access's abort, and what the access should have read. */
  #handled: Outcome<Handled> | undefined;
  #mismatch: bigint | undefined;
  /** The VM that a PE runs for a moment instead. */
  #visitor: { readonly vm: Vm; readonly vcpu: Vcpu } | undefined;

  constructor(private readonly world: World) {
    const { config, scenario } = world;
    this.#names = archNames(config.backend);
    const registers = resetRegisters(config.backend);
    const { machine = {} } = scenario;
    this.machine = new Machine({
      backend: config.backend,
      features: config.features,
      memory: memoryOf(world),
      pes: Array.from({ length: config.pes }, () => ({ registers, tlb: tlbOf(machine) })),
      handler: this.#handler(),
      listener: { effect: (effect) => this.#heard(effect) },
      ...(config.caches === undefined ? {} : { caches: config.caches }),
      ...(machine.seed === undefined ? {} : { choose: random(machine.seed) }),
    });
    if (world.hypervisor !== undefined) {
      world.hypervisor.view = { read: (physical, into) => this.view(world.pe).read(physical, into), write: (physical, bytes) => this.view(world.pe).write(physical, bytes) };
    }
  }

  sinkOf(format: Format): EffectSink {
    const { world, machine } = this;
    const sinks = machine.pes.map((pe) => pe.tables(format));
    return {
      effect: (effect) => {
        if (effect.type === 'context-installed' || effect.type === 'context-retired') {
          machine.tell(effect);
          return;
        }
        const hosting = this.#hosting;
        this.#hosting = true;
        sinks[world.pe].effect(effect);
        this.#hosting = hosting;
      },
    };
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
    const stage1Alone = type === 'at-read' || type === 'at-write';
    const access = { regime: this.#names.guest, type, privileged, address: BigInt(at), bytes, ...(value !== undefined && { value }), ...(stage1Alone && { stages: 'one' as const }) };
    const seen = this.#seen(() => pe.access(access));
    return seen.kind === 'done' && seen.output !== undefined ? this.#composed(vcpu, at, bytes, seen, seen.output) : seen;
  }

  /** A nested guest that reaches other memory than the tables lead to that it runs with reads what is not its own. */
  #composed(vcpu: Vcpu, at: number, bytes: number, seen: Seen & { readonly kind: 'done' }, output: number): Seen {
    const composed = this.world.hypervisor?.used(vcpu, at);
    if (composed === undefined || composed === output || seen.value === undefined) {
      return seen;
    }
    const into = new Uint8Array(bytes);
    return this.view(this.world.pe).read(composed, into) ? { ...seen, expected: valueOf(into) } : seen;
  }

  /** Memory as the host sees it from a PE: cacheable, coherent with every other. */
  view(pe: number): HostView {
    const { caches, memory } = this.machine;
    return {
      read: (physical, into) => caches?.read(pe, physical, into, CACHEABLE) ?? memory.read(physical, into),
      write: (physical, bytes) => this.machine.store(pe, physical, bytes),
    };
  }

  /** Maintenance by VA, which may fault as an access does. */
  maintain(vcpu: Vcpu, op: 'CIVAC' | 'CVAC' | 'IVAC' | 'CVAU' | 'ZVA' | 'IVAU', at: number): Seen {
    const pe = this.enter(vcpu);
    return this.#seen(() => pe.maintenance.byAddress(op, this.#names.guest, BigInt(at), 'el1'));
  }

  visit(vm: Vm, index: number, ipa: number | undefined): Failure | undefined {
    const here = this.#loaded[index];
    if (here !== undefined) {
      this.#leave(index, here);
    }
    this.world.pe = index;
    const vcpu = vm.addVcpu();
    this.#visitor = { vm, vcpu };
    this.#load(vm, vcpu, index, resetRegisters(this.world.config.backend));
    const seen = ipa === undefined ? undefined : this.#seen(() => this.machine.pes[index].read(this.#names.guest, BigInt(ipa)));
    this.#visitor = undefined;
    vm.put(index);
    return seen?.kind === 'failed' ? seen.failure : undefined;
  }

  register(vcpu: Vcpu, asked: string, value: bigint): Failure | undefined {
    const { backend } = this.world.config;
    const name = registerName(backend, asked);
    const pe = this.enter(vcpu);
    if (isVmRegister(name)) {
      pe.maintenance.guestRegister(name, value);
    } else if (backend.registers.names.includes(name)) {
      pe.writeRegister(name, value);
    } else {
      return refused('scenario.register', `${name} is no register that ${backend.name} knows.`, SCENARIO_SCHEMA);
    }
    pe.isb();
    vcpu.cachesOn = cachesEnabled(pe.registers[this.#names.sctlr] ?? 0n);
    return undefined;
  }

  setWay(vcpu: Vcpu, op: 'ISW' | 'CSW' | 'CISW', operand: number | undefined): void {
    const pe = this.enter(vcpu);
    const { caches, line } = this.world.config;
    const every = caches === undefined ? [0] : allSetWays(1, caches.data).map((each) => encodeSetWay(each, caches.data, line));
    for (const each of operand === undefined ? every : [operand]) {
      pe.maintenance.bySetWay(op, Math.floor(each / 16), Math.floor(each / 2) % 8, 'el1');
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
    return this.#seen(() => this.machine.pes[pe].access({ regime: this.#names.hyp, type, privileged: true, address: BigInt(address), bytes: 4 }));
  }

  reset(vcpu: Vcpu): void {
    const pe = this.enter(vcpu);
    for (const [name, value] of Object.entries(resetRegisters(this.world.config.backend))) {
      pe.writeRegister(name, value);
    }
    this.#beforeEntry(pe, this.world.vm, vcpu);
  }

  /** The vCPU runs on its PE. */
  enter(vcpu: Vcpu): Pe {
    const { world } = this;
    const at = this.peOf(vcpu);
    world.pe = at;
    const here = this.#loaded[at];
    if (here !== vcpu) {
      if (here !== undefined) {
        this.#leave(at, here);
      }
      this.#loaded[at] = vcpu;
      this.#load(world.vm, vcpu, at, this.#kept(world.vm, vcpu));
      world.emulation.load?.(world.vm, vcpu, at);
    } else if (world.vm.nested !== undefined) {
      this.#beforeEntry(this.machine.pes[at], world.vm, vcpu);
    }
    world.emulation.beforeEntry?.(world.vm);
    if (world.emulation instanceof PerCpuCaches) {
      world.emulation.ran(vcpu);
    }
    return this.machine.pes[at];
  }

  /** The policy, as PEs see it. */
  #handler(): TrapHandler {
    const { world } = this;
    const { tally } = world.recorder;
    const kvm = trapHandler({
      running: (pe) => this.#visitor ?? { vm: world.vm, vcpu: this.#loaded[pe]! },
      registers: {
        read: (pe, name) => this.machine.pes[pe].registers[name] ?? 0n,
        write: (pe, name, value) => this.machine.pes[pe].writeRegister(name, value),
      },
      caches: world.emulation,
      handled: (pe, outcome) => {
        this.#handled = outcome;
        tally.answer(answerName(outcome));
        if (outcome.kind === 'done' && outcome.value.did === 'mapped' && this.#visitor === undefined) {
          world.hypervisor?.mapped(this.#loaded[pe]!, outcome.value.address, outcome.value.bytes);
        }
      },
      beforeEntry: (pe, { vm, vcpu }) => this.#beforeEntry(this.machine.pes[pe], vm, vcpu),
    });
    return {
      trap: (pe, trap) => {
        world.pe = pe;
        if (trap.kind === 'operation') {
          tally.trap(trap.name);
        }
        return kvm.trap(pe, trap);
      },
    };
  }

  /** An access, and what whoever makes it sees of it. */
  #seen(access: () => PeAnswer): Seen {
    this.#handled = undefined;
    this.#mismatch = undefined;
    const answer = access();
    const handled = this.#handled as Outcome<Handled> | undefined;
    switch (answer.kind) {
      case 'done':
        return {
          kind: 'done', times: 1, output: answer.output, ...(answer.value !== undefined && { value: answer.value }),
          ...(this.#mismatch !== undefined && { expected: this.#mismatch }),
        };
      case 'skipped':
        return handled?.kind === 'done' && handled.value.did === 'mmio' ? { kind: 'mmio' } : { kind: 'done', times: 1 };
      case 'fault':
        return faulted(answer.fault, handled);
      case 'refused':
      case 'not-modelled':
        return { kind: 'failed', failure: answer };
    }
  }

  #leave(index: number, vcpu: Vcpu): void {
    if (this.#loaded[index] !== vcpu) {
      return;
    }
    this.#keep(index, vcpu);
    this.#loaded[index] = undefined;
    const { vm } = this.world;
    if (vm.nested === undefined) {
      vm.put(index);
    } else {
      vm.nested.put(vcpu);
    }
  }

  #load(vm: Vm, vcpu: Vcpu, index: number, registers: Registers): void {
    const pe = this.machine.pes[index];
    for (const [name, value] of Object.entries(registers)) {
      pe.writeRegister(name, value);
    }
    if (vm.nested === undefined) {
      vm.load(vcpu, index);
    } else {
      vm.nested.load(vcpu, index);
    }
    this.#levels.set(vcpu, levelOf(vm, vcpu));
    this.#beforeEntry(pe, vm, vcpu);
  }

  #keep(index: number, vcpu: Vcpu): void {
    const { registers } = this.machine.pes[index];
    const kept = Object.fromEntries(this.#names.guestRegisters.flatMap((name) => (name in registers ? [[name, registers[name]]] : [])));
    this.#saved[this.#levels.get(vcpu) ?? 'el1'].set(vcpu, kept);
  }

  #kept(vm: Vm, vcpu: Vcpu): Registers {
    return this.#saved[levelOf(vm, vcpu)].get(vcpu) ?? resetRegisters(this.world.config.backend);
  }

  /** What EL2 does before it enters the guest: the registers of the level that it enters, what a shadow owes, and its own registers. */
  #beforeEntry(pe: Pe, vm: Vm, vcpu: Vcpu): void {
    const level = levelOf(vm, vcpu);
    if (level !== this.#levels.get(vcpu)) {
      this.#keep(pe.index, vcpu);
      Object.entries(this.#kept(vm, vcpu)).forEach(([name, value]) => pe.writeRegister(name, value));
      this.#levels.set(vcpu, level);
    }
    vm.nested?.beforeEntry(vcpu);
    const stage2 = vm.nested?.stage2Of(vcpu) ?? vm;
    const changed = Object.entries(must(stage2.registersOf(vcpu, level))).filter(([name, value]) => pe.registers[name] !== value);
    changed.forEach(([name, value]) => pe.writeRegister(name, value));
    if (changed.length > 0) {
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

type GuestLevel = 'el1' | 'virtual-el2';

/** Where a vCPU is; one without a virtual EL2 is at EL1. */
function levelOf({ nested }: Vm, vcpu: Vcpu): GuestLevel {
  return nested !== undefined && nested.guestOf(vcpu) === undefined ? 'virtual-el2' : 'el1';
}

function faulted(fault: FaultValue, handled: Outcome<Handled> | undefined): Seen {
  if (fault.stage === 1 || handled === undefined) {
    return { kind: 'fault', fault };
  }
  if (handled.kind !== 'done') {
    return { kind: 'failed', failure: handled };
  }
  return { kind: 'fault', fault, injected: handled.value.did === 'injected' ? handled.value.exception : handled.value.did };
}

function tlbOf({ tlb = 'adversarial' }: MachineSpec): TlbModel {
  if (tlb === 'adversarial') {
    return new AdversarialTlb();
  }
  const stages = ['stage1', 'stage2', 'combined'] as const;
  const array = (kind: 'leaf' | 'table', shape: { readonly sets: number; readonly ways: number }) => ({ name: kind, kind, stages, replacement: 'lru' as const, ...shape });
  return new FiniteTlb({ arrays: [array('leaf', tlb.leaves), ...(tlb.tables === undefined ? [] : [array('table', tlb.tables)])] });
}

/** Memory of the scenario and room for table pages. */
function memoryOf({ config }: World): SparseMemory {
  const memory = new SparseMemory();
  for (const { start, bytes } of [...config.memory, config.tables]) {
    must(memory.addZeroed(start, bytes));
  }
  return memory;
}

function must<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'done') {
    throw new RangeError(outcome.sentence);
  }
  return outcome.value;
}
