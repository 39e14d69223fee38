import { AdversarialTlb, contextFormats, createJudge, Machine, type Pe } from '@granule/cache-tlb';
import { expandEffect } from '@granule/conformance';
import type { Backend, Effect, EffectSink, FaultValue, Features, Outcome, Registers, TableMemory, TrapHandler } from '@granule/contract';
import { entrySpan, type Granule } from '@granule/geometry';
import {
  Backing, blockSizes, createVm, type Handled, kernelProfile, setMemoryRegion, trapHandler, type Vcpu, type Vm, VmidAllocator, type VmOptions,
} from '@granule/kvm';
import { createTableArena, SparseMemory } from '@granule/memory';
import { context, createTranslation, readerMemory, translate } from '@granule/mmu';
import { type Kind, KINDS, must, Oracle, resultOf, type Sample } from './maintenance-rig.js';

/** A VM, and the machine that it runs on. */
export interface PolicySetup {
  readonly name: string;
  readonly backend: Backend;
  readonly granule: Granule;
  readonly kernel: string;
  readonly features: Partial<Features>;
  readonly options?: Partial<VmOptions>;
}

const HVA = [0x7f00_0000_0000, 0x7e00_0000_0000] as const;
const PHYSICAL = 2 ** 36;
/** Where tables lie: below 2^40, all that ARMv7 has, and clear of the memory. */
const TABLES = 2 ** 38;

/** Two PEs that run vCPUs of one VM, under the adversarial TLB; what KVM does, it does on one of them, and the other one's guest runs on in between. */
export class PolicyRig {
  readonly machine: Machine;
  readonly vm: Vm;
  readonly vcpus: readonly Vcpu[];
  readonly hostMemory: Backing;
  readonly judge;
  readonly log: Effect[] = [];
  readonly handled: Outcome<Handled>[] = [];
  readonly sizes;
  /** The PE on which KVM works. */
  at = 0;
  accesses = 0;
  readonly #arena: TableMemory;
  readonly #handler: TrapHandler;
  readonly #running = [0, 1];
  #sinks: readonly EffectSink[] | undefined;
  #oracle: Oracle | undefined;
  #writing = false;

  constructor(
    readonly setup: PolicySetup,
    readonly next: () => number,
  ) {
    const { backend, granule, features } = setup;
    this.sizes = blockSizes(granule);
    const memory = new SparseMemory();
    must(memory.add([{ pa: 0, bytes: 2 ** 40, fileBytes: 0, source: { size: 0, read: () => 0 }, offset: 0 }]));
    this.judge = createJudge({ format: contextFormats({ [backend.name]: backend }) });
    const listener = { effect: (effect: Effect): void => this.#hear(effect) };
    const all = { ...backend.registers.features({}), haf: false, dic: false, ...features };
    const pes = [0, 1].map(() => ({ registers: {}, tlb: new AdversarialTlb() }));
    this.machine = new Machine({ backend, features: all, memory, pes, choose: (count) => Math.floor(next() * count), listener });
    this.hostMemory = new Backing(this.sizes.page);
    const { pageShift, pages } = { '4K': { pageShift: 12, pages: 128 }, '16K': { pageShift: 14, pages: 128 }, '64K': { pageShift: 16, pages: 96 } }[granule];
    this.#arena = createTableArena({ pageShift, base: TABLES, maxPages: pages, initialPages: pages });
    this.vm = must(createVm({
      backend, kernel: kernelProfile(setup.kernel), host: { granule, vaBits: granule === '16K' ? 47 : 48, features: all, hardwareAccessFlag: true, tlbRange: true },
      memory: this.#arena, hostMemory: this.hostMemory, vmids: new VmidAllocator(8), sink: { effect: (run) => this.#run(run) }, ...setup.options,
    }));
    this.#sinks = this.machine.pes.map((pe) => pe.tables(this.vm.format));
    this.vcpus = [this.vm.addVcpu(), this.vm.addVcpu()];
    this.#handler = trapHandler({
      running: (pe) => ({ vm: this.vm, vcpu: this.vcpus[this.#running[pe]] }),
      registers: { read: (pe, name) => this.machine.pes[pe].registers[name] ?? 0n, write: (pe, name, value) => this.machine.pes[pe].writeRegister(name, value) },
      handled: (_, outcome) => this.handled.push(outcome),
    });
    for (const slot of [0, 1]) {
      this.back(slot, this.sizes.pmd);
      must(setMemoryRegion(this.vm, this.region(slot)));
    }
    for (const pe of [0, 1]) this.enter(pe);
    this.#oracle = new Oracle(this.vm.format, this.#says(must(context(backend, all, this.#guestRegisters(0))), memory), this.#addresses());
  }

  /** A slot of two blocks. */
  region(slot: number, ipa = (4 + 4 * slot) * this.sizes.pmd) {
    return { slot, ipa, size: 2 * this.sizes.pmd, hva: HVA[slot] };
  }

  /** The host puts other memory behind a slot. */
  back(slot: number, leafBytes: number): void {
    const { pmd } = this.sizes;
    const physical = PHYSICAL + Math.floor(this.next() * 4) * 2 * pmd;
    this.hostMemory.add({ start: HVA[slot], bytes: 2 * pmd, kind: 'anonymous', pageBytes: pmd, memory: 'normal', writable: true, physical, leafBytes });
  }

  /** A vCPU is put on a PE. */
  enter(pe: number, vcpu = this.#running[pe]): void {
    this.at = pe;
    this.#running[pe] = vcpu;
    this.vm.load(this.vcpus[vcpu], pe);
    for (const [name, value] of Object.entries(this.#guestRegisters(pe))) this.machine.pes[pe].writeRegister(name, value);
    this.machine.pes[pe].isb();
  }

  /** The guest on a PE makes an access, and KVM sees to it where it faults. */
  touch(pe: number): void {
    const fault = this.#guest(this.machine.pes[pe]);
    if (fault !== undefined) {
      // Before KVM has the fault of this guest, that of the other one may be seen to.
      if (this.next() < 0.3) this.touch(1 - pe);
      this.at = pe;
      this.#handler.trap(pe, { kind: 'abort', fault: fault.value, write: fault.kind === 'write', bytes: 4, ...(fault.kind === 'write' && { value: 0n }) });
      this.#enterGuest(pe);
    }
  }

  /** Something that KVM does for the host, on one of the PEs; then that PE returns to its guest. */
  host(pe: number, work: () => void): void {
    this.at = pe;
    work();
    this.#enterGuest(pe);
  }

  /** The exception return synchronises the context; what was stored is complete long before. */
  #enterGuest(pe: number): void {
    const step = { type: 'dsb', domain: 'ishst' } as const;
    this.machine.pes[pe].maintenance.dsb(step.domain);
    this.#oracle?.effect(step);
    this.machine.pes[pe].isb();
  }

  /** Checks one access against what the tables allow. Answers its fault. */
  #guest(pe: Pe): { readonly value: FaultValue; readonly kind: Kind } | undefined {
    const { samples } = this.#oracle!;
    const sample = samples[Math.floor(this.next() * samples.length)];
    const kind = KINDS[Math.floor(this.next() * 3)];
    const answer = pe.access({ regime: this.#regime, type: kind, privileged: true, address: BigInt(sample.ia), bytes: 4, value: 0n });
    this.accesses += 1;
    this.#hold(pe, sample, kind, resultOf(answer));
    return answer.kind === 'fault' ? { value: answer.fault, kind } : undefined;
  }

  #hold(pe: Pe, sample: Sample, kind: Kind, got: string): void {
    const allowed = this.#oracle!.allowed(sample, kind);
    if (!allowed.includes(got)) {
      throw new Error(`PE ${pe.index}: ${kind} at 0x${sample.ia.toString(16)} is ${got}, and the tables said ${allowed.join(' or ')}`);
    }
  }

  get #regime(): string {
    return this.vm.isAarch32 ? 'pl10' : 'el10';
  }

  #guestRegisters(pe: number): Registers {
    const registers = must(this.vm.registersOf(this.vcpus[this.#running[pe]]));
    return this.vm.isAarch32 ? { ...registers, TTBCR: must(this.setup.backend.registers.encode('TTBCR', { EAE: 1 })) } : registers;
  }

  /** First, last and middle pages of the blocks of both slots, of where slot 1 moves to, and an address without memory. */
  #addresses(): readonly number[] {
    const { page, pmd } = this.sizes;
    const offsets = [0, page, pmd - page, pmd, pmd + pmd / 2, 2 * pmd - page];
    return [...[4, 8].flatMap((block) => offsets.map((offset) => block * pmd + offset)), 12 * pmd, 13 * pmd, page];
  }

  #run(run: Effect): void {
    for (const each of expandEffect(run, (level) => entrySpan(this.setup.granule, level))) this.#step(each);
  }

  /** One effect of KVM, and now and then something of the other PE after it. */
  #step(effect: Effect): void {
    const { machine, at } = this;
    this.#writing = true;
    // A table is in force, or out of use, on every PE.
    if (effect.type === 'context-installed' || effect.type === 'context-retired') machine.tell(effect);
    else (this.#sinks?.[at] ?? machine.pes[at]).effect(effect);
    this.#writing = false;
    if (this.#oracle === undefined) return;
    this.#oracle.effect(effect);
    const pending = machine.pending();
    if (pending.length > 0 && this.next() < 0.3) machine.order.take(pending[Math.floor(this.next() * pending.length)]);
    const often = effect.type === 'write' && effect.index > 0 ? 0.02 : 0.3;
    if (this.next() < often) this.#guest(machine.pes[1 - at]);
  }

  #hear(effect: Effect): void {
    this.log.push(effect);
    this.judge.effect(effect);
    // What hardware writes into a descriptor, the access flag, the core reads next.
    if (effect.type === 'write' && !this.#writing) this.#arena.words.set(effect.new, this.#arena.wordOf(effect.table + 8 * effect.index, 8));
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
