import type { Pe } from '@granule/cache-tlb';
import { expandEffect } from '@granule/conformance';
import type { Effect, EffectSink, FaultValue, Outcome, Registers, TableMemory, TrapHandler, WriteEffect } from '@granule/contract';
import { entrySpan, type Granule } from '@granule/geometry';
import {
  Backing, blockSizes, createVm, type Handled, kernelProfile, type PolicyEventName, setManualDirtyLog, setMemoryRegion, setSplitChunk, teardown, trapHandler, type Vcpu, type Vm,
  type VmOptions,
} from '@granule/kvm';
import { createTableArena, type SparseMemory } from '@granule/memory';
import { context, createTranslation, readerMemory, translate } from '@granule/mmu';
import { type Kind, KINDS, must, Oracle, resultOf, type Sample } from './maintenance-rig.js';
import { type BenchSetup, PolicyBench } from './policy-bench.js';

/** A VM, and the machine that it runs on. */
export interface PolicySetup extends BenchSetup {
  readonly name: string;
  readonly granule: Granule;
  readonly kernel: string;
  readonly options?: Partial<VmOptions>;
  /** KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE, by the size of a block; default 0. */
  readonly splitChunk?: 'page' | 'pmd';
  /** Bits of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2; default 0. */
  readonly manualDirtyLog?: 0 | 1 | 3;
}

const HVA = [0x7f00_0000_0000, 0x7e00_0000_0000] as const;
const PHYSICAL = 2 ** 36;
/** Where tables lie: below 2^40, all that ARMv7 has, and clear of the memory. */
const TABLES = 2 ** 38;

/** A VM of two vCPUs on a bench; what KVM does, it does on one PE, and the guest of the other one runs on in between. */
export class PolicyRig {
  readonly vm: Vm;
  readonly vcpus: readonly Vcpu[];
  readonly hostMemory: Backing;
  readonly handled: Outcome<Handled>[] = [];
  /** What the policy told of itself. */
  readonly told = new Set<PolicyEventName>();
  readonly sizes;
  /** The PE on which KVM works. */
  at = 0;
  readonly #arena: TableMemory;
  readonly #handler: TrapHandler;
  readonly #sinks: readonly EffectSink[];
  readonly #oracle: Oracle;
  readonly #vcpuOn = [0, 1];
  /** KVM is at work: what a guest writes now may be marked dirty in a moment. */
  #busy = true;

  /** @param place of several VMs at a time: where its tables lie @param serial of VMs one after the other: where its memory lies */
  constructor(
    readonly setup: PolicySetup,
    readonly next: () => number,
    readonly bench = new PolicyBench(setup, next),
    readonly place = 0,
    private readonly serial = 0,
  ) {
    const { backend, granule, kernel, options } = setup;
    const { machine, features, memory, vmids } = bench;
    this.sizes = blockSizes(granule);
    this.hostMemory = new Backing(this.sizes.page);
    const { pageShift, pages } = { '4K': { pageShift: 12, pages: 128 }, '16K': { pageShift: 14, pages: 128 }, '64K': { pageShift: 16, pages: 96 } }[granule];
    this.#arena = createTableArena({ pageShift, base: TABLES + place * 2 ** 24, maxPages: pages, initialPages: pages });
    let ready = false;
    this.vm = must(createVm({
      backend, kernel: kernelProfile(kernel), host: { granule, vaBits: granule === '16K' ? 47 : 48, features, hardwareAccessFlag: true, tlbRange: true },
      memory: this.#arena, hostMemory: this.hostMemory, vmids, sink: { effect: (run) => (ready ? this.#run(run) : machine.pes[0].effect(run)) },
      trace: ({ event }) => this.told.add(event), ...options,
    }));
    this.#sinks = machine.pes.map((pe) => pe.tables(this.vm.format));
    this.vcpus = [this.vm.addVcpu(), this.vm.addVcpu()];
    this.#handler = trapHandler({
      running: (pe) => ({ vm: this.vm, vcpu: this.vcpus[this.#vcpuOn[pe]] }),
      registers: { read: (pe, name) => machine.pes[pe].registers[name] ?? 0n, write: (pe, name, value) => machine.pes[pe].writeRegister(name, value) },
      handled: (_, outcome) => this.handled.push(outcome),
    });
    const says = this.#says(must(context(backend, features, this.#guestRegisters(0))), memory);
    this.#oracle = new Oracle(this.vm.format, says, this.#addresses());
    ready = true;
    bench.vms.push(this);
    this.#makeSlots();
    this.#busy = false;
  }

  #makeSlots(): void {
    const { splitChunk, manualDirtyLog = 0 } = this.setup;
    must(setSplitChunk(this.vm, splitChunk === undefined ? 0 : this.sizes[splitChunk]));
    if (manualDirtyLog !== 0) must(setManualDirtyLog(this.vm, manualDirtyLog));
    for (const slot of [0, 1]) {
      this.back(slot, this.sizes.pmd);
      must(setMemoryRegion(this.vm, this.region(slot)));
    }
  }

  /** A slot of two blocks. */
  region(slot: number, ipa = (4 + 4 * slot) * this.sizes.pmd) {
    return { slot, ipa, size: 2 * this.sizes.pmd, hva: HVA[slot] };
  }

  /** The host puts other memory behind a slot. */
  back(slot: number, leafBytes: number): void {
    const { pmd } = this.sizes;
    const physical = PHYSICAL + (8 * this.serial + Math.floor(this.next() * 4) * 2) * pmd;
    this.hostMemory.add({ start: HVA[slot], bytes: 2 * pmd, kind: 'anonymous', pageBytes: pmd, memory: 'normal', writable: true, physical, leafBytes });
  }

  /** A vCPU is put on a PE. */
  enter(pe: number, vcpu = this.#vcpuOn[pe]): void {
    const { machine, running } = this.bench;
    this.at = pe;
    this.#vcpuOn[pe] = vcpu;
    this.vm.load(this.vcpus[vcpu], pe);
    running[pe] = this;
    for (const [name, value] of Object.entries(this.#guestRegisters(pe))) machine.pes[pe].writeRegister(name, value);
    machine.pes[pe].isb();
  }

  /** Its vCPU leaves a PE. */
  leave(pe: number): void {
    this.vm.put(pe);
    this.bench.running[pe] = undefined;
  }

  /** The VM ends: its vCPUs have left, and on one of the PEs its tables are freed. */
  end(pe: number): void {
    const { running, vms } = this.bench;
    for (const each of [0, 1]) if (running[each] === this) this.leave(each);
    this.at = pe;
    this.#busy = true;
    teardown(this.vm);
    vms.splice(vms.indexOf(this), 1);
  }

  /** The guest on a PE makes an access, and KVM sees to it where it faults. */
  touch(pe: number): void {
    const { machine, running } = this.bench;
    const fault = this.guest(machine.pes[pe]);
    if (fault !== undefined) {
      // Before KVM has the fault of this guest, that of the other one may be seen to.
      if (this.next() < 0.3) running[1 - pe]?.touch(1 - pe);
      this.#works(pe, () => {
        this.#handler.trap(pe, { kind: 'abort', fault: fault.value, write: fault.kind === 'write', bytes: 4, ...(fault.kind === 'write' && { value: 0n }) });
      });
    }
  }

  /** Something that KVM does for the host, on one of the PEs; then that PE returns to its guest. */
  host(pe: number, work: () => void): void {
    this.#works(pe, work);
  }

  /** What hardware wrote into one of its tables. */
  wroteByHardware({ table, index, new: words }: WriteEffect): void {
    const word = this.#arena.wordOf(table + 8 * index, 8);
    if (word >= 0) this.#arena.words.set(words, word);
  }

  #works(pe: number, work: () => void): void {
    this.at = pe;
    this.#busy = true;
    work();
    this.#enterGuest(pe);
    this.#busy = false;
  }

  /** The exception return synchronises the context; what was stored is complete long before. */
  #enterGuest(pe: number): void {
    const { machine } = this.bench;
    const step = { type: 'dsb', domain: 'ishst' } as const;
    machine.pes[pe].maintenance.dsb(step.domain);
    this.#oracle.effect(step);
    machine.pes[pe].isb();
  }

  /** Checks one access against what the tables allow, and a write against the log of dirty pages. Answers its fault. */
  guest(pe: Pe): { readonly value: FaultValue; readonly kind: Kind } | undefined {
    const { samples } = this.#oracle;
    const sample = samples[Math.floor(this.next() * samples.length)];
    const kind = KINDS[Math.floor(this.next() * 3)];
    const answer = pe.access({ regime: this.#regime, type: kind, privileged: true, address: BigInt(sample.ia), bytes: 4, value: 0n });
    this.#hold(pe, sample, kind, resultOf(answer));
    if (kind === 'write' && answer.kind === 'done') this.#isMarked(sample.ia);
    return answer.kind === 'fault' ? { value: answer.fault, kind } : undefined;
  }

  #hold(pe: Pe, sample: Sample, kind: Kind, got: string): void {
    const allowed = this.#oracle.allowed(sample, kind);
    if (!allowed.includes(got)) {
      throw new Error(`PE ${pe.index}: ${kind} at 0x${sample.ia.toString(16)} is ${got}, and the tables said ${allowed.join(' or ')}`);
    }
  }

  /** A page that is logged and was written is dirty, or nobody would send it again. */
  #isMarked(ia: number): void {
    const slot = [0, 1].map((id) => this.vm.slots.byId(id)).find((each) => each !== undefined && ia >= each.ipa && ia < each.ipa + each.size);
    if (this.#busy || slot?.dirty === undefined) return;
    if (!slot.dirty.has((ia - slot.ipa) / this.sizes.page)) throw new Error(`a write at 0x${ia.toString(16)} is not in the log of dirty pages`);
  }

  get #regime(): string {
    return this.vm.isAarch32 ? 'pl10' : 'el10';
  }

  #guestRegisters(pe: number): Registers {
    const registers = must(this.vm.registersOf(this.vcpus[this.#vcpuOn[pe]]));
    return this.vm.isAarch32 ? { ...registers, TTBCR: must(this.setup.backend.registers.encode('TTBCR', { EAE: 1 })) } : registers;
  }

  /** First, last and middle pages of the blocks of both slots, of where slot 1 moves to, and an address without memory. */
  #addresses(): readonly number[] {
    const { page, pmd } = this.sizes;
    const offsets = [0, page, pmd - page, pmd, pmd + pmd / 2, 2 * pmd - page];
    return [...[4, 8].flatMap((block) => offsets.map((offset) => block * pmd + offset)), 12 * pmd, 13 * pmd, page];
  }

  #run(run: Effect): void {
    for (const each of expandEffect(run, (level) => entrySpan(this.setup.granule, level))) if (!this.bench.lost(each)) this.#step(each);
  }

  /** One effect of KVM, and now and then something of the other PE after it. */
  #step(effect: Effect): void {
    const { at, bench } = this;
    const { machine, running } = bench;
    bench.writing = true;
    // A table is in force, or out of use, on every PE.
    if (effect.type === 'context-installed' || effect.type === 'context-retired') machine.tell(effect);
    else this.#sinks[at].effect(effect);
    bench.writing = false;
    this.#oracle.effect(effect);
    const pending = machine.pending();
    if (pending.length > 0 && this.next() < 0.3) machine.order.take(pending[Math.floor(this.next() * pending.length)]);
    const often = effect.type === 'write' && effect.index > 0 ? 0.02 : 0.3;
    if (this.next() < often) running[1 - at]?.guest(machine.pes[1 - at]);
  }

  #says(decoded: ReturnType<typeof context> extends Outcome<infer C> ? C : never, memory: SparseMemory): (ia: number, kind: Kind) => string {
    const out = createTranslation();
    const reader = readerMemory(memory);
    return (ia, type) => {
      const ok = translate(decoded, reader, ia, { regime: this.#regime, type, privileged: true }, out);
      return ok ? `to 0x${out.output.toString(16)}` : `${out.fault.type} fault`;
    };
  }
}
