import { type AccessType, type Effect, type EffectSink, type Failure, type FaultValue, type Format, type Outcome, type Registers, DONE } from '@granule/contract';
import { allSetWays, encodeSetWay } from '@granule/cache-tlb';
import { GRANULES } from '@granule/geometry';
import { createTableArena, type TableArena } from '@granule/memory';
import { Backing, type CacheEmulation, createVm, DeferredCaches, linuxCaches, PerCpuCaches, setManualDirtyLog, setMemoryRegion, setSplitChunk, type Vcpu, type Vm, VmidAllocator, type VmOptions } from '@granule/kvm';
import { backingOf, type Configuration, type Misplaced } from '../configure.js';
import type { Scenario } from '../scenario.js';
import { ScenarioHypervisor } from './nested/scenario-hypervisor.js';
import type { Recorder } from './recorder.js';

const DEFAULT_IPA_BITS = 40;

/** One access of a guest. */
export interface GuestAccess {
  readonly type: AccessType;
  readonly at: number;
  readonly bytes: number;
  readonly value?: bigint;
  readonly privileged: boolean;
  /** The same access is to be made so many times, each time `stride` further. */
  readonly left: number;
  readonly stride: number;
}

/** What the guest sees of it. */
export type Seen =
  | { readonly kind: 'done'; readonly value?: bigint; readonly expected?: bigint; readonly output?: number; readonly times: number; readonly elsewhere?: number }
  | { readonly kind: 'fault'; readonly fault: FaultValue; readonly injected?: string }
  | { readonly kind: 'mmio' }
  | { readonly kind: 'failed'; readonly failure: Failure };

/** Guests as a run sees them: on modelled hardware, or by looking into the table alone. */
export interface GuestSide {
  /** Where what the hypervisor does for a VM takes effect. */
  sinkOf(format: Format): EffectSink;
  /** What no PE does. */
  tell(effect: Effect): void;
  access(vcpu: Vcpu, access: GuestAccess): Seen;
  runOn(vcpu: Vcpu, pe: number): void;
  /** Where it runs. */
  peOf(vcpu: Vcpu): number;
  /** Another VM runs on a PE once, and touches an address. */
  visit(vm: Vm, pe: number, ipa: number | undefined): Failure | undefined;
  register(vcpu: Vcpu, name: string, value: bigint): Failure | undefined;
  setWay(vcpu: Vcpu, op: 'ISW' | 'CSW' | 'CISW', operand: number | undefined): void;
  /** EL2's own registers, the same on every PE. */
  installHyp(registers: Registers): void;
  /** What the vCPU's registers hold besides their reset values is gone. */
  reset(vcpu: Vcpu): void;
}

/** One run: the VM with its host, and where the host's code runs now. */
export class World {
  /** The PE that executes the hypervisor. */
  pe = 0;
  readonly hostMemory: Backing;
  readonly vmids: VmidAllocator;
  readonly arena: TableArena;
  readonly emulation: CacheEmulation;
  readonly vcpus: Vcpu[] = [];
  /** Absent: the guest is none. */
  readonly hypervisor: ScenarioHypervisor | undefined;
  #vm: Vm | undefined;
  side!: GuestSide;
  /** The stage-2 table is gone. */
  down = false;

  constructor(
    readonly scenario: Scenario,
    readonly config: Configuration,
    readonly recorder: Recorder,
  ) {
    const { host, tables, features, pes } = config;
    const { pageShift } = GRANULES[host.granule];
    this.hostMemory = new Backing(2 ** pageShift);
    this.vmids = new VmidAllocator(features.vmidBits);
    this.arena = createTableArena({ pageShift, base: tables.start, maxPages: tables.bytes / 2 ** pageShift, initialPages: config.initialPages });
    this.emulation = { 'linux': () => linuxCaches, 'per-cpu': () => new PerCpuCaches(pes, allLines(config)), 'xen-deferred': () => new DeferredCaches() }[scenario.vm?.cacheEmulation ?? 'linux']();
    this.hypervisor = scenario.vm?.nested === undefined ? undefined : ScenarioHypervisor.of(this);
    scenario.memory?.forEach((each) => this.hostMemory.add(backingOf(each, 2 ** pageShift)));
  }

  get vm(): Vm {
    return this.#vm!;
  }

  get pageBytes(): number {
    return this.vm.sizes.page;
  }

  /** Makes the VM, its slots and its vCPUs. A failure comes with the field that is to blame. */
  start(): Misplaced | undefined {
    const { slots = [], vm: spec = {} } = this.scenario;
    const made = this.newVm(true);
    if (made.kind !== 'done') {
      return { failure: made, path: ['vm', made.id.startsWith('nested.') ? 'nested' : 'ipaBits'] };
    }
    const vm = (this.#vm = made.value);
    const manual = setManualDirtyLog(vm, { 'off': 0, 'manual': 1, 'initially-set': 3 }[spec.dirtyLog ?? 'off']);
    if (manual.kind !== 'done' && spec.dirtyLog !== undefined) {
      return { failure: manual, path: ['vm', 'dirtyLog'] };
    }
    const chunk = setSplitChunk(vm, spec.splitChunk ?? 0);
    if (chunk.kind !== 'done' && spec.splitChunk !== undefined) {
      return { failure: chunk, path: ['vm', 'splitChunk'] };
    }
    for (const [index, { slot = index, ...region }] of slots.entries()) {
      const outcome = setMemoryRegion(vm, { slot, ...region });
      if (outcome.kind !== 'done') {
        return { failure: outcome, path: ['slots', index] };
      }
    }
    for (let i = 0; i < (spec.vcpus ?? 1); i += 1) {
      const vcpu = vm.addVcpu();
      this.vcpus.push(vcpu);
      const shadows = vm.nested?.initVcpu(vcpu) ?? DONE;
      if (shadows.kind !== 'done') {
        return { failure: shadows, path: ['vm', 'nested'] };
      }
    }
    return undefined;
  }

  /** Another VM of the same kind, on the same table memory and host memory. */
  newVm(watched: boolean): Outcome<Vm> {
    const { backend, kernel, host } = this.config;
    const { ipaBits = DEFAULT_IPA_BITS, ioremap, invalidation = 'deferred', maintenance = 'map-and-unmap', rollover = 'all' } = this.scenario.vm ?? {};
    const common: VmOptions = {
      backend, kernel, host, type: kernel.fixedIpa && ipaBits === DEFAULT_IPA_BITS ? 0 : ipaBits, memory: this.arena, hostMemory: this.hostMemory, vmids: this.vmids, invalidation, maintenance, rollover,
      ...(ioremap === undefined ? {} : { mmio: ioremap }),
    };
    if (this.recorder.format === undefined) {
      // The format, which sinks need before there is a VM.
      const trial = createVm({ ...common, memory: createTableArena({ pageShift: this.arena.pageShift, maxPages: 32 }) });
      if (trial.kind !== 'done') {
        return trial;
      }
      this.recorder.format = trial.value.format;
    }
    const { tally, format } = this.recorder;
    const own = { trace: tally.policy, ...(this.hypervisor && { nested: this.hypervisor.options }) };
    return createVm({ ...common, sink: this.side.sinkOf(format), ...(watched ? own : {}) });
  }

  tell(effect: Effect): void {
    this.side.tell(effect);
  }
}

/** Operands of DC CISW for every line of a PE's L1 and of the level behind it (flush_cache_all). A system cache has none. */
function allLines({ caches, line }: Configuration): readonly number[] {
  const levels = [caches?.data, caches?.outer];
  return levels.flatMap((shape, i) => (shape === undefined ? [] : allSetWays(i + 1, shape).map((each) => encodeSetWay(each, shape, line))));
}
