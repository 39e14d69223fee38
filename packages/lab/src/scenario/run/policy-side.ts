import { type Effect, type EffectSink, ENTRY, type Failure, type FaultValue, type Format, type FormatNumbers, type LookupResult, type Outcome, notModelled } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { cachesEnabled, type Handled, type Vcpu, type Vm } from '@granule/kvm';
import { answerName, Aborts } from './aborts.js';
import { archNames, isVmRegister, registerName } from './arch.js';
import type { GuestAccess, GuestSide, Seen, World } from './world.js';

/** Faults of one access before it is taken to be stuck. */
const LIMIT = 64;

/**
 * Guests without hardware: an access looks into the table as it is now, and what it finds decides. No TLB, no caches, no bytes; the guest's MMU is taken to be
 * off, an address is an IPA.
 */
export class PolicySide implements GuestSide {
  readonly #aborts: Aborts;
  readonly #places: number[] = [];
  readonly #found: LookupResult = { kind: ENTRY.zero, level: 0, lo: 0, hi: 0, word: 0, output: 0 };
  readonly #loaded: (Vcpu | undefined)[] = [];

  constructor(private readonly world: World) {
    this.#aborts = new Aborts(world);
  }

  sinkOf(): EffectSink {
    const { world } = this;
    const { recorder } = world;
    // PE 0 need not be told.
    return { effect: (effect) => recorder.effect(world.pe === 0 ? effect : placed(effect, world.pe)) };
  }

  tell(effect: Effect): void {
    this.world.recorder.effect(effect);
  }

  peOf({ id }: Vcpu): number {
    return this.#places[id] ?? id % this.world.config.pes;
  }

  runOn(vcpu: Vcpu, pe: number): void {
    const old = this.peOf(vcpu);
    if (this.#loaded[old] === vcpu && old !== pe) {
      this.#loaded[old] = undefined;
      this.world.vm.put(old);
    }
    this.#places[vcpu.id] = pe;
  }

  access(vcpu: Vcpu, access: GuestAccess): Seen {
    this.#enter(vcpu);
    const { vm } = this.world;
    for (let attempt = 0; attempt < LIMIT; attempt += 1) {
      const fault = this.#fault(access);
      if (fault === undefined) {
        const times = this.#alike(access);
        this.world.recorder.tally.accessed(times);
        return { kind: 'done', times };
      }
      this.world.tell({ type: 'fault', fault, pe: this.world.pe, vmid: vm.vmid, regime: archNames(this.world.config.backend).guest });
      const outcome = this.#aborts.handle(vm, vcpu, fault, access.type === 'write', access.bytes);
      this.world.recorder.tally.answer(answerName(outcome));
      this.world.emulation.beforeEntry?.(vm);
      const seen = seenOf(outcome, fault);
      if (seen !== undefined) {
        return seen;
      }
    }
    const sentence = `The access at 0x${access.at.toString(16)} faulted ${LIMIT} times.`;
    return { kind: 'failed', failure: notModelled('access.stuck', sentence, 'Linux kvm_handle_guest_abort') };
  }

  visit(vm: Vm, pe: number, ipa: number | undefined): Failure | undefined {
    const { world } = this;
    world.pe = pe;
    const vcpu = vm.addVcpu();
    vm.load(vcpu, pe);
    const fault = ipa === undefined ? undefined : ({ type: 'translation', level: 3, stage: 2, s1ptw: false, access: 'read', address: ipa, upper: false, ipa } as const);
    const outcome = fault && this.#aborts.handle(vm, vcpu, fault, false, 8);
    vm.put(pe);
    this.#loaded[pe] = undefined;
    return outcome === undefined || outcome.kind === 'done' || outcome.kind === 'retry' ? undefined : outcome;
  }

  register(vcpu: Vcpu, asked: string, value: bigint): undefined {
    const name = registerName(this.world.config.backend, asked);
    this.#enter(vcpu);
    const { vm, emulation, config, recorder } = this.world;
    const now = name === archNames(config.backend).sctlr ? cachesEnabled(value) : vcpu.cachesOn;
    if (!vcpu.tvm || !isVmRegister(name)) {
      vcpu.cachesOn = now;
      return;
    }
    recorder.tally.trap(name);
    emulation.vmRegister(vm, vcpu, 0n, now);
    vcpu.cachesOn = now;
    emulation.beforeEntry?.(vm);
  }

  setWay(vcpu: Vcpu, op: string): void {
    this.#enter(vcpu);
    const { vm, emulation, recorder } = this.world;
    recorder.tally.trap(op);
    emulation.setWay(vm, vcpu, 0n);
    emulation.beforeEntry?.(vm);
  }

  installHyp(): void {
    // Nothing walks the table.
  }

  reset(): void {
    // There are no registers.
  }

  /** The vCPU is loaded where it runs. */
  #enter(vcpu: Vcpu): void {
    const { world } = this;
    const pe = this.peOf(vcpu);
    world.pe = pe;
    if (this.#loaded[pe] === vcpu) {
      return;
    }
    this.#loaded[pe] = vcpu;
    world.vm.load(vcpu, pe);
    const { emulation } = world;
    emulation.load?.(world.vm, vcpu, pe);
    emulation.beforeEntry?.(world.vm);
  }

  /** What a walk of the table as it is finds wrong with an access. Hardware sets the access flag where the VM lets it. */
  #fault({ type, at }: GuestAccess): FaultValue | undefined {
    const { vm } = this.world;
    const found = this.#found;
    const value = (kind: FaultValue['type'], level: Level): FaultValue => ({ type: kind, level, stage: 2, s1ptw: false, access: type, address: at, upper: false, ipa: at });
    if (at >= vm.ipaLimit || !vm.table.lookup(at, found)) {
      return value('translation', vm.format.geometry.startLevel);
    }
    if (found.kind !== ENTRY.leaf) {
      return value('translation', found.level);
    }
    return this.#forbidden(vm.format, found, type, value);
  }

  #forbidden(format: Format, found: LookupResult, type: GuestAccess['type'], value: (kind: FaultValue['type'], level: Level) => FaultValue): FaultValue | undefined {
    const { numbers } = format;
    const { lo, hi, level } = found;
    const young = (lo & numbers.afLo) !== 0 || (hi & numbers.afHi) !== 0;
    if (!young) {
      const { host } = this.world.config;
      if (!(host.hardwareAccessFlag && host.features.haf)) {
        return value('access-flag', level);
      }
      this.#setAccessFlag(found, numbers);
    }
    if (type === 'write') {
      const writable = (lo & numbers.writableLoMask) >>> 0 === numbers.writableLo && (hi & numbers.writableHiMask) >>> 0 === numbers.writableHi;
      return writable ? undefined : value('permission', level);
    }
    if (type === 'fetch') {
      return format.decodeLeaf(lo, hi, level).px ? undefined : value('permission', level);
    }
    return undefined;
  }

  /** As hardware does, with nothing to be told. */
  #setAccessFlag({ word }: LookupResult, { afLo, afHi }: FormatNumbers): void {
    const { words } = this.world.arena;
    words[word] = (words[word] | afLo) >>> 0;
    words[word + 1] = (words[word + 1] | afHi) >>> 0;
  }

  /** How many of the accesses that are to come go to the leaf just found, and so are like this one. */
  #alike({ at, left, stride }: GuestAccess): number {
    if (left <= 1 || this.#found.kind !== ENTRY.leaf) {
      return 1;
    }
    const span = 2 ** levelShift(this.world.vm.host.granule, this.#found.level);
    const end = at - (at % span) + span;
    return stride === 0 ? left : Math.min(left, Math.ceil((end - at) / stride));
  }
}

/** What the guest sees of a fault; undefined: it makes the access again. */
function seenOf(outcome: Outcome<Handled>, fault: FaultValue): Seen | undefined {
  if (outcome.kind !== 'done') {
    return outcome.kind === 'retry' ? undefined : { kind: 'failed', failure: outcome };
  }
  const handled = outcome.value;
  switch (handled.did) {
    case 'mapped':
    case 'relaxed':
    case 'made-young':
      return undefined;
    case 'mmio':
      return { kind: 'mmio' };
    case 'skipped':
      return { kind: 'done', times: 1 };
    case 'injected':
      return { kind: 'fault', fault, injected: handled.exception };
    case 'forwarded':
    case 'signalled':
    case 'host-external-abort':
      return { kind: 'fault', fault, injected: handled.did };
  }
}

function placed(effect: Effect, pe: number): Effect {
  switch (effect.type) {
    case 'take':
    case 'free':
    case 'context-installed':
    case 'context-retired':
      return effect;
    case 'write':
    case 'tlbi':
    case 'dsb':
    case 'isb':
    case 'cmo':
    case 'register':
    case 'access':
    case 'fault':
      return { ...effect, pe };
  }
}
