import { armv8 } from '@granule/armv8';
import { allSetWays, cachePolicy, contextFormats, createJudge, encodeSetWay, Machine, takeCacheChoice, type Pe, type PeAnswer } from '@granule/cache-tlb';
import type { Effect, EffectSink, Features } from '@granule/contract';
import { stage1Geometry } from '@granule/geometry';
import {
  Backing, type CacheEmulation, createVm, kernelProfile, PerCpuCaches, setMemoryRegion, trapHandler, type Vcpu, type Vm, VmidAllocator, type VmOptions,
} from '@granule/kvm';
import { createTableArena, SparseMemory } from '@granule/memory';
import { createPageTable } from '@granule/pgtable';
import { must } from './maintenance-rig.js';

const G = 2 ** 30;
const SHAPE = { sets: 16, ways: 4, replacement: 'lru' } as const;
/** Large enough that nothing is evicted unasked. */
const CACHES = { data: SHAPE, instruction: { ...SHAPE, index: 'physical' }, outer: { ...SHAPE, sets: 64 } } as const;
const WRITE_BACK = cachePolicy(0xff, 3, false, { dataCache: true, instructionCache: true });
const MAIR = 0xff44_0c04_00ffn;

/** The byte that the tests are about: guest's IPA, and memory, are the same. */
export const DATA = G;
const STAGE1 = G + 2 ** 24;
const TABLES = 2 ** 37;
/** M, C, I (DDI 0487 SCTLR_EL1). */
const CACHES_ON = 0x1005n;
const CACHES_OFF = 0x1001n;

/** Operands of DC CISW for every line of both levels: what a guest's flush of "its" caches, and flush_cache_all, go through. */
export const ALL_LINES: readonly number[] = [SHAPE, CACHES.outer].flatMap((shape, at) =>
  [...allSetWays(at + 1, shape)].map((each) => encodeSetWay(each, shape, 64)));

export interface CacheRigOptions {
  readonly vm?: Partial<VmOptions>;
  readonly features?: Partial<Features>;
  readonly caches?: CacheEmulation;
}

/** One vCPU of a VM, two PEs with caches with bytes in them, and KVM between them. */
export class CacheRig {
  readonly machine: Machine;
  readonly vm: Vm;
  readonly vcpu: Vcpu;
  readonly judge;
  readonly heard: Effect[] = [];
  /** The PE on which the vCPU runs. */
  at = 0;
  readonly #emulation: CacheEmulation | undefined;

  constructor(options: CacheRigOptions = {}) {
    const memory = new SparseMemory();
    must(memory.addZeroed(0, 2 ** 39));
    this.judge = createJudge({ format: contextFormats({ armv8 }) });
    const listener: EffectSink = { effect: (each) => { this.heard.push(each); this.judge.effect(each); } };
    const features = { ...armv8.registers.features({ ID_AA64MMFR0_EL1: 0x1122n, CTR_EL0: 0x8444_c004n }), ttl: true, ...options.features };
    this.machine = new Machine({ backend: armv8, features, memory, pes: [{ registers: {} }, { registers: {} }], caches: CACHES, listener });
    const hostMemory = new Backing(4096);
    hostMemory.add({ start: 0, bytes: G, kind: 'anonymous', pageBytes: 4096, memory: 'normal', writable: true, physical: G, leafBytes: 4096 });
    this.vm = must(createVm({
      backend: armv8, kernel: kernelProfile('7.2'), host: { granule: '4K', vaBits: 48, features, hardwareAccessFlag: false, tlbRange: false },
      memory: createTableArena({ pageShift: 12, base: TABLES, maxPages: 64, initialPages: 64 }), hostMemory, vmids: new VmidAllocator(8), sink: { effect: (each) => this.#does(each) },
      ...options.vm,
    }));
    this.vcpu = this.vm.addVcpu();
    must(setMemoryRegion(this.vm, { slot: 0, ipa: G, size: 2 ** 26, hva: 0 }));
    this.#emulation = options.caches;
    this.machine.handler = trapHandler({
      running: () => ({ vm: this.vm, vcpu: this.vcpu }),
      registers: { read: (pe, name) => this.machine.pes[pe].registers[name] ?? 0n, write: (pe, name, value) => this.machine.pes[pe].writeRegister(name, value) },
      beforeEntry: (pe) => this.#enter(pe),
      ...(options.caches && { caches: options.caches }),
    });
    this.run(0);
  }

  get guest(): Pe {
    return this.machine.pes[this.at];
  }

  /** The vCPU runs on this PE from here on, with its registers of EL1. */
  run(pe: number): void {
    const { registers } = this.guest;
    this.at = pe;
    this.vm.load(this.vcpu, pe);
    this.#emulation?.load?.(this.vm, this.vcpu, pe);
    for (const [name, value] of Object.entries(registers)) if (name.endsWith('_EL1')) this.guest.writeRegister(name, value);
    this.#enter(pe);
    if (this.#emulation instanceof PerCpuCaches) this.#emulation.ran(this.vcpu);
  }

  /** The guest makes its tables, an identity map with Write-Back memory, and switches MMU and caches on. */
  switchOn(): void {
    const geometry = must(stage1Geometry({ granule: '4K', vaBits: 39 }));
    const format = must(armv8.format('el10', { geometry, mair: MAIR }));
    const memory = createTableArena({ pageShift: 12, base: STAGE1, maxPages: 16, initialPages: 16 });
    const table = must(createPageTable({ format, memory, sink: this.guest.tables(format) }));
    must(table.map(G, 2 ** 26, G, { read: true, write: true, memory: 'normal' }));
    const tcr = must(armv8.registers.encode('TCR_EL1', { T0SZ: 25, TG0: 0, IPS: 5, EPD1: 1, SH0: 3, IRGN0: 1, ORGN0: 1 }));
    for (const [name, value] of Object.entries({ TCR_EL1: tcr, MAIR_EL1: MAIR, TTBR0_EL1: BigInt(table.root), SCTLR_EL1: CACHES_ON })) this.register(name, value);
  }

  register(name: string, value: bigint): void {
    this.guest.maintenance.guestRegister(name, value);
    this.guest.isb();
  }

  /** The guest switches its caches off; TLBs may hold the types of memory of before (SCTLR_EL1.C may be cached in a TLB). */
  switchOff(): void {
    this.register('SCTLR_EL1', CACHES_OFF);
    must(this.guest.maintenance.tlbi('VMALLE1', {}, 'el1'));
    this.guest.maintenance.dsb('nsh');
    this.guest.isb();
  }

  write(value: bigint): void {
    must0(this.guest.write('el10', BigInt(DATA), value, { bytes: 1 }));
  }

  read(): PeAnswer {
    return must0(this.guest.read('el10', BigInt(DATA), { bytes: 1 }));
  }

  value(): bigint | undefined {
    const answer = this.read();
    return answer.kind === 'done' ? answer.value : undefined;
  }

  /** DC CISW of every line, by the guest on its PE. */
  setWays(): void {
    for (const operand of ALL_LINES) this.guest.maintenance.bySetWay('CISW', Math.floor(operand / 16), Math.floor(operand / 2) % 8, 'el1');
  }

  /** The host reads ahead through its own, cacheable map of all memory. */
  hostReadsAhead(pe: number): void {
    takeCacheChoice(this.machine.caches!, { type: 'fill', pe, line: DATA, policy: WRITE_BACK });
  }

  /** The host stores by its own map. */
  hostWrites(pe: number, value: number): void {
    this.machine.store(pe, DATA, Uint8Array.of(value));
  }

  /** The host reads by its own map. */
  hostSees(pe: number): number {
    const byte = new Uint8Array(1);
    this.machine.caches!.read(pe, DATA, byte, WRITE_BACK);
    return byte[0];
  }

  /** A device that is not coherent reads memory. */
  deviceSees(): number {
    const byte = new Uint8Array(1);
    this.machine.memory.read(DATA, byte);
    return byte[0];
  }

  rules(): readonly string[] {
    return [...new Set(this.judge.verdict().violations.map(({ rule }) => rule.id))];
  }

  #enter(pe: number): void {
    for (const [name, value] of Object.entries(must(this.vm.registersOf(this.vcpu)))) this.machine.pes[pe].writeRegister(name, value);
    this.machine.pes[pe].isb();
  }

  #does(effect: Effect): void {
    if (effect.type === 'context-installed' || effect.type === 'context-retired') this.machine.tell(effect);
    else if (this.vm === undefined) this.machine.pes[0].effect(effect);
    else this.guest.tables(this.vm.format).effect(effect);
  }
}

function must0(answer: PeAnswer): PeAnswer {
  if (answer.kind === 'refused' || answer.kind === 'not-modelled') throw new Error(answer.sentence);
  if (answer.kind === 'fault') throw new Error(`${answer.fault.type} fault of stage ${answer.fault.stage}`);
  return answer;
}
