import { type Effect, type EffectSink, ENTRY, type Failure, type FaultValue, type Format, type FormatNumbers, type LookupResult, notModelled } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { alignDown } from '@granule/geometry/bits';
import { guestAbort, type Vcpu, type Vm } from '@granule/kvm';
import { Aborts } from './aborts.js';
import { archNames, cachesOn, encoded, registerName } from './arch.js';
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

  sinkOf(vm: () => Vm | undefined): EffectSink {
    const { world } = this;
    const { recorder, installed } = world;
    const { everyVmid } = archNames(world.config.backend);
    return {
      effect(effect) {
        if (effect.type === 'tlbi' && everyVmid.includes(effect.op)) {
          installed.rollover();
        }
        // What only a judge looks at is left out where there is none.
        recorder.effect(recorder.judge === undefined && world.pe === 0 ? effect : placed(effect, world.pe, vm()?.vmid));
      },
    };
  }

  tell(effect: Effect): void {
    this.world.recorder.effect(effect);
  }

  peOf({ id }: Vcpu): number {
    return this.#places[id] ?? id % this.world.config.pes;
  }

  runOn(vcpu: Vcpu, pe: number): void {
    const { installed, vmids, vm } = this.world;
    const old = this.peOf(vcpu);
    if (this.#loaded[old] === vcpu && old !== pe) {
      this.#loaded[old] = undefined;
      installed.leave(vm, old);
      vmids.leave(old);
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
      const answer = this.#aborts.handle(vm, vcpu, fault, { va: BigInt(access.at), write: access.type === 'write', bytes: access.bytes });
      this.world.emulation.beforeEntry?.(vm);
      if (answer.kind === 'failed') {
        return { kind: 'failed', failure: answer.failure };
      }
      if (answer.kind === 'handled') {
        const { handled } = answer;
        if (handled.did === 'mmio') {
          return { kind: 'mmio' };
        }
        if (handled.did === 'injected') {
          return { kind: 'fault', fault, injected: handled.exception };
        }
        if (handled.did === 'skipped' || handled.did === 'host-external-abort') {
          return { kind: 'done', times: 1 };
        }
      }
    }
    const sentence = `The access at 0x${access.at.toString(16)} faulted ${LIMIT} times.`;
    return { kind: 'failed', failure: notModelled('access.stuck', sentence, 'Linux kvm_handle_guest_abort') };
  }

  visit(vm: Vm, pe: number, ipa: number | undefined): Failure | undefined {
    const { world } = this;
    world.pe = pe;
    const [vcpu = vm.addVcpu()] = vm.vcpus;
    vm.load(vcpu, pe);
    world.installed.enter(vm, pe);
    const outcome = ipa === undefined ? undefined : guestAbort(vm, vcpu, { esr: this.#translationSyndrome(ipa), far: BigInt(ipa), ipa: alignDown(ipa, 12) });
    world.installed.leave(vm, pe);
    world.vmids.leave(pe);
    this.#loaded[pe] = undefined;
    return outcome === undefined || outcome.kind === 'done' || outcome.kind === 'retry' ? undefined : outcome;
  }

  register(vcpu: Vcpu, asked: string, value: bigint): undefined {
    const name = registerName(this.world.config.backend, asked);
    this.#enter(vcpu);
    const { vm, emulation, config, recorder } = this.world;
    const { sctlr, vmRegisters } = archNames(config.backend);
    const now = name === sctlr ? cachesOn(config.backend, value) : vcpu.cachesOn;
    if (!vcpu.tvm || !vmRegisters.includes(name)) {
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

  reset(vcpu: Vcpu): void {
    vcpu.cachesOn = cachesOn(this.world.config.backend, encoded(this.world.config.backend, archNames(this.world.config.backend).sctlr, {}));
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
    world.installed.enter(world.vm, pe);
    const { emulation } = world;
    if ('load' in emulation && typeof emulation.load === 'function') {
      (emulation.load as (vm: Vm, vcpu: Vcpu, pe: number) => void)(world.vm, vcpu, pe);
    }
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

  #translationSyndrome(ipa: number): bigint {
    const { backend } = this.world.config;
    const fault: FaultValue = { type: 'translation', level: 3, stage: 2, s1ptw: false, access: 'read', address: ipa, upper: false, ipa };
    return backend.faults.abort?.(fault, { from: 1, to: 2, va: BigInt(ipa), write: false }).esr ?? 0n;
  }
}

/** With the PE and, on an invalidation, the VMID in force. */
function placed(effect: Effect, pe: number, vmid: number | undefined): Effect {
  if (effect.type === 'take' || effect.type === 'free') {
    return effect;
  }
  return effect.type === 'tlbi' && effect.vmid === undefined && vmid !== undefined ? { ...effect, pe, vmid } : { ...effect, pe };
}
