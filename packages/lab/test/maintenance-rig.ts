import type { Command } from '@granule/conformance';
import { expandEffect } from '@granule/conformance';
import { AdversarialTlb, contextFormats, createJudge, Machine, TLBI_OPERATIONS, type Choose, type Pe, type PeAnswer, type TlbiOperation } from '@granule/cache-tlb';
import type { AttributeRequest, Backend, ContextFormat, Effect, EffectSink, Features, Format, Outcome, Registers, TlbiEffect } from '@granule/contract';
import { entrySpan, tableGeometry, type Granule, type Level } from '@granule/geometry';
import { createTableArena, SparseMemory } from '@granule/memory';
import { context, createTranslation, readerMemory, translate, type Access, type Context } from '@granule/mmu';
import { createPageTable, type GranulePageTable } from '@granule/pgtable';
import { hypMap, hypUnmap } from '@granule/pgtable/hyp';
import { random as randomBelow } from '../src/scenario/run/random.js';

export function must<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'done') throw new Error(outcome.sentence);
  return outcome.value;
}

const MAIR = 0xff44_0c04_00ffn;
export const VMID = 1;
export const ASID = 3;

/** A table, and how a machine is told to walk it. */
export interface Setup {
  readonly backend: Backend;
  readonly regime: string;
  readonly granule: Granule;
  readonly iaBits: number;
  readonly startLevel: Level;
  readonly features: Partial<Pick<Features, 'bbm' | 'ttl' | 'tlbirange'>>;
  /** `linux`: the operations as Linux does them; `hyp`: map and unmap by the rules of EL2 tables. Default: exact. */
  readonly by?: 'linux' | 'hyp';
}

export function setupName({ backend, regime, granule, iaBits, features, by }: Setup): string {
  const named = Object.entries(features).flatMap(([name, value]) => (value === true || (value !== 0 && value !== false) ? [name] : []));
  return [backend.name, regime, granule, `${iaBits} bits`, ...named, ...(by === undefined ? [] : [by])].join(' ');
}

const isArmv7 = ({ backend }: Setup): boolean => backend.name === 'armv7-lpae';
const oaBits = (setup: Setup): number => (isArmv7(setup) ? 40 : 48);

function contextFormat(setup: Setup): ContextFormat {
  const { backend, regime, granule, iaBits, startLevel, features } = setup;
  const common = { backend: backend.name, granule, iaBits, oaBits: oaBits(setup), startLevel, features };
  return regime === 's2' ? common : { ...common, mair: MAIR };
}

export function formatOf(setup: Setup): Format {
  const { backend, regime, granule, iaBits, startLevel, features } = setup;
  const geometry = tableGeometry({ stage: regime === 's2' ? 2 : 1, granule, iaBits, oaBits: oaBits(setup), startLevel, ds: false });
  return must(backend.format(regime, { geometry, features, ...(regime !== 's2' && { mair: MAIR }) }));
}

/** Registers with the table in force: nothing else is on. */
function registersOf(setup: Setup, format: Format, root: number): Registers {
  const { backend, regime, iaBits, granule } = setup;
  const encode = (name: string, fields: Readonly<Record<string, number>>): bigint => must(backend.registers.encode(name, fields));
  const tg = { '4K': 0, '64K': 1, '16K': 2 }[granule];
  const base = BigInt(root);
  const tagged = base | (BigInt(ASID) << 48n);
  const [mair0, mair1] = [MAIR & 0xffff_ffffn, MAIR >> 32n];
  switch (`${backend.name} ${regime}`) {
    case 'armv8 s2':
    case 'armv7-lpae s2': {
      const { vtcr, vttbr } = must(backend.registers.encodeStage2({ geometry: format.geometry, features: setup.features, root, vmid: VMID }));
      if (isArmv7(setup)) return { HCR: encode('HCR', { VM: 1 }), VTCR: vtcr, VTTBR: vttbr, TTBCR: encode('TTBCR', { EAE: 1 }) };
      return { HCR_EL2: encode('HCR_EL2', { VM: 1, RW: 1 }), VTCR_EL2: vtcr, VTTBR_EL2: vttbr };
    }
    case 'armv8 el10':
      return {
        HCR_EL2: encode('HCR_EL2', { RW: 1 }),
        SCTLR_EL1: encode('SCTLR_EL1', { M: 1, C: 1, I: 1 }),
        TCR_EL1: encode('TCR_EL1', { T0SZ: 64 - iaBits, TG0: tg, IPS: 5, EPD1: 1 }),
        TTBR0_EL1: tagged,
        MAIR_EL1: MAIR,
      };
    case 'armv8 el2':
      return { SCTLR_EL2: encode('SCTLR_EL2', { M: 1, C: 1, I: 1 }), TCR_EL2: encode('TCR_EL2', { T0SZ: 64 - iaBits, TG0: tg, PS: 5 }), TTBR0_EL2: base, MAIR_EL2: MAIR };
    case 'armv7-lpae pl10':
      return { SCTLR: encode('SCTLR', { M: 1, C: 1, I: 1 }), TTBCR: encode('TTBCR', { EAE: 1 }), TTBR0: tagged, MAIR0: mair0, MAIR1: mair1 };
    case 'armv7-lpae pl2':
      return { HSCTLR: encode('HSCTLR', { M: 1, C: 1, I: 1 }), HTCR: encode('HTCR', {}), HTTBR: base, HMAIR0: mair0, HMAIR1: mair1 };
    default:
      throw new Error(`There are no registers for ${backend.name} ${regime}.`);
  }
}

/** Numbers in [0, 1), the same for the same seed. */
export function random(seed: number): () => number {
  const next = randomBelow(seed);
  return () => next(2 ** 32) / 2 ** 32;
}

export const KINDS = ['read', 'write', 'fetch'] as const;
export type Kind = (typeof KINDS)[number];

interface Said {
  readonly time: number;
  readonly what: string;
}

/** An address that guests use, and what the tables said of it. */
export interface Sample {
  readonly ia: number;
  readonly said: Readonly<Record<Kind, Said[]>>;
  /** Nothing that was said before this time may be used any more. */
  window: number;
  /** The same of stage 2 alone, of which combined entries may be left. */
  stage2: number;
}

interface Issued {
  readonly operation: TlbiOperation;
  readonly effect: TlbiEffect;
  /** The last DSB before it. */
  readonly ordered: number;
  /** Where it is of stage 1 alone: how far stage 2 was then, by sample. */
  readonly stage2: readonly number[];
}

/** What the architecture lets accesses find: kept from the effects alone, without TLBs. */
export class Oracle {
  readonly samples: readonly Sample[];
  #time = 0;
  #ordered = 0;
  #issued: Issued[] = [];

  constructor(
    private readonly format: Format,
    private readonly says: (ia: number, kind: Kind) => string,
    addresses: readonly number[],
  ) {
    this.samples = addresses.map((ia) => ({ ia, said: { read: [], write: [], fetch: [] }, window: 0, stage2: 0 }));
    for (const sample of this.samples) this.#look(sample);
  }

  effect(effect: Effect): void {
    this.#time += 1;
    switch (effect.type) {
      case 'write': {
        const span = entrySpan(this.format.geometry.granule, effect.level);
        for (const sample of this.samples) if (sample.ia >= effect.address && sample.ia < effect.address + span) this.#look(sample);
        return;
      }
      case 'tlbi':
        this.#issued.push({ effect, operation: TLBI_OPERATIONS.get(effect.op)!, ordered: this.#ordered, stage2: this.samples.map(({ stage2 }) => stage2) });
        return;
      case 'dsb':
        this.#ordered = this.#time;
        if (effect.domain === 'ish' || effect.domain === 'sy') this.#complete();
        return;
      case 'access':
      case 'cmo':
      case 'context-installed':
      case 'context-retired':
      case 'fault':
      case 'free':
      case 'isb':
      case 'register':
      case 'take':
        return;
    }
  }

  /** Everything that the tables said since what is now gone. */
  allowed({ said, window }: Sample, kind: Kind): readonly string[] {
    const all = said[kind];
    const first = all.findLastIndex(({ time }) => time <= window);
    return [...new Set(all.slice(Math.max(first, 0)).map(({ what }) => what))];
  }

  #look({ ia, said }: Sample): void {
    for (const kind of KINDS) {
      const what = this.says(ia, kind);
      if (said[kind].at(-1)?.what !== what) said[kind].push({ time: this.#time, what });
    }
  }

  #complete(): void {
    for (const { operation, effect, ordered, stage2 } of this.#issued) {
      for (const [index, sample] of this.samples.entries()) {
        if (operation.reach === 'local' || !this.#covers(effect, operation, sample.ia)) continue;
        const both = operation.stage2 === true || operation.stage2 === 'from-el2';
        if (this.format.stage === 1 || (operation.stage1 && both)) sample.window = Math.max(sample.window, ordered);
        else if (operation.stage1) sample.window = Math.max(sample.window, stage2[index]);
        if (both) sample.stage2 = Math.max(sample.stage2, ordered);
      }
    }
    this.#issued = [];
  }

  #covers({ address = 0, level = 3, bytes = 0 }: TlbiEffect, { target }: TlbiOperation, ia: number): boolean {
    if (target === 'all' || target === 'asid') return true;
    const span = target === 'range' ? bytes : entrySpan(this.format.geometry.granule, level);
    const start = target === 'range' ? address : Math.floor(address / span) * span;
    return ia >= start && ia < start + span;
  }
}

function hypAttributes({ write, memory }: AttributeRequest): AttributeRequest {
  const executable = write === false && memory === 'normal';
  return { write: !executable, px: executable, ux: executable, ...(memory !== undefined && { memory }) };
}

/** What an access came to, as the oracle puts it. */
export function resultOf(answer: PeAnswer): string {
  if (answer.kind === 'done') return `to 0x${answer.output.toString(16)}`;
  return answer.kind === 'fault' ? `${answer.fault.type} fault` : answer.kind;
}

/** A table under a machine of two PEs: PE 0 runs the hypervisor and a guest in turn, PE 1 the guest all the time. */
export class Rig {
  readonly machine: Machine;
  readonly table: GranulePageTable;
  readonly format: Format;
  readonly judge;
  readonly log: Effect[] = [];
  accesses = 0;
  readonly #oracle: Oracle;
  readonly #sink: EffectSink;
  readonly #regime: string;
  #retired = false;

  constructor(
    private readonly setup: Setup,
    addresses: readonly number[],
    private readonly next: () => number,
    /** Effects of the core that get lost on the way to the machine; what is expected does not know of it. */
    private readonly lost: (effect: Effect) => boolean = () => false,
  ) {
    const { backend, features, regime } = setup;
    this.format = formatOf(setup);
    this.#regime = regime === 's2' ? (isArmv7(setup) ? 'pl10' : 'el10') : regime;
    const memory = new SparseMemory();
    must(memory.add([{ pa: 0, bytes: 2 ** oaBits(setup), fileBytes: 0, source: { size: 0, read: () => 0 }, offset: 0 }]));
    const choose: Choose = (count) => Math.floor(next() * count);
    const pes = [0, 1].map(() => ({ registers: {}, tlb: new AdversarialTlb() }));
    this.judge = createJudge({ format: contextFormats({ [backend.name]: backend }), caches: 'none' });
    const listener: EffectSink = {
      effect: (effect) => {
        this.log.push(effect);
        this.judge.effect(effect);
      },
    };
    const all = { ...features, paBits: 48 as const };
    this.machine = new Machine({ backend, features: all, memory, pes, choose, listener });
    const [host] = this.machine.pes;
    this.#sink = host.tables(this.format);
    this.table = this.#create();
    const registers = registersOf(setup, this.format, this.table.root);
    for (const pe of this.machine.pes) {
      for (const [name, value] of Object.entries(registers)) pe.writeRegister(name, value);
      pe.isb();
    }
    listener.effect({ ...this.#tags(), type: 'context-installed', format: contextFormat(setup) });
    this.#oracle = new Oracle(this.format, this.#says(must(context(backend, all, registers)), memory), addresses);
  }

  /** As the caller of a page table: what the table leaves to it is done here. */
  perform(command: Command): void {
    this.host(() => (this.setup.by === 'hyp' ? this.#hyp(command) : this.#perform(command)));
  }

  /** Something that PE 0 does with the table, before it returns to its guest. */
  host(work: () => void): void {
    work();
    this.enterGuest();
  }

  /** EL2 tables are mapped and unmapped, and nothing else; a mapping is writable or executable. */
  #hyp(command: Command): void {
    if (command.op === 'map') hypMap(this.table, command.ia, command.size, command.output, hypAttributes(command.attributes));
    else if (command.op === 'unmap') hypUnmap(this.table, command.ia, command.size);
  }

  #perform(command: Command): void {
    const { table } = this;
    switch (command.op) {
      case 'map':
        this.#map(command);
        break;
      case 'unmap':
        table.unmap(command.ia, command.size, { ...command.options, ...this.#mode() });
        break;
      case 'write-protect':
        table.writeProtect(command.ia, command.size);
        this.#flush();
        break;
      case 'age':
        table.age(command.ia, command.size, command.clear);
        break;
      case 'make-young':
        table.makeYoung(command.ia);
        break;
      case 'relax':
        table.relaxPermissions(command.ia, command.add);
        if (command.add.px === false || command.add.ux === false) this.#flush();
        break;
      case 'split':
        table.split(command.ia, command.size, { ...this.#mode(), budget: table.memory.free, ...(command.toLevel !== undefined && { toLevel: command.toLevel }) });
        break;
      case 'merge':
        table.merge(command.ia, command.size);
        break;
      case 'annotate':
        table.annotate(command.ia, command.size, command.type, command.value);
        break;
      case 'flush':
        table.flush(command.ia, command.size);
        break;
      case 'lookup':
      case 'query':
        break;
    }
  }

  /** PE 0 returns to its guest: KVM completes its stores, and the exception return synchronises the context. */
  enterGuest(): void {
    const [host] = this.machine.pes;
    host.maintenance.dsb('ishst');
    this.#oracle.effect({ type: 'dsb', domain: 'ishst' });
    host.isb();
    this.guest(host);
    this.guest(host);
    host.isb();
  }

  /** One access of a guest. Throws where it finds what the tables did not say. */
  guest(pe: Pe): void {
    const { samples } = this.#oracle;
    const sample = samples[Math.floor(this.next() * samples.length)];
    const kind = KINDS[Math.floor(this.next() * 3)];
    const got = resultOf(pe.access({ ...this.#access(kind), address: BigInt(sample.ia), bytes: 4, value: 0n }));
    this.accesses += 1;
    const allowed = this.#oracle.allowed(sample, kind);
    if (!allowed.includes(got)) {
      throw new Error(`PE ${pe.index}: ${kind} at 0x${sample.ia.toString(16)} is ${got}, and the tables said ${allowed.join(' or ')}`);
    }
  }

  /** The table is taken out of use, then freed. */
  destroy(free = () => this.table.destroy()): void {
    this.#retired = true;
    this.machine.listener!.effect({ ...this.#tags(), type: 'context-retired' });
    free();
  }

  #create(): GranulePageTable {
    const { pageShift, entryTables } = this.format.geometry;
    const pages = { 12: 40, 14: 12, 16: 8 }[pageShift] ?? 8;
    const memory = createTableArena({ pageShift, base: 2 ** (oaBits(this.setup) - 2), maxPages: pages + entryTables, initialPages: pages + entryTables });
    const sink: EffectSink = {
      effect: (run) => {
        for (const each of expandEffect(run, (level) => entrySpan(this.format.geometry.granule, level))) this.#step(each);
      },
    };
    return must(createPageTable({ format: this.format, memory, sink, coherence: { fwb: true, dic: true } }));
  }

  /** One effect of the hypervisor, and now and then something of PE 1 after it. */
  #step(effect: Effect): void {
    if (!this.lost(effect)) this.#sink.effect(effect);
    // The first page is taken before there is a guest, and the last ones go when there is none.
    if (this.#oracle === undefined || this.#retired) return;
    this.#oracle.effect(effect);
    const pending = this.machine.pending();
    if (pending.length > 0 && this.next() < 0.3) this.machine.order.take(pending[Math.floor(this.next() * pending.length)]);
    const other = this.machine.pes[1];
    const often = effect.type === 'write' && effect.index > 0 ? 0.02 : 0.4;
    if (this.next() < often) this.guest(other);
    if (this.next() < often) other.speculate({ ...this.#access('read'), address: BigInt(this.#oracle.samples[0].ia) });
  }

  #mode(): { readonly mode?: 'linux' } {
    return this.setup.by === 'linux' ? { mode: 'linux' } : {};
  }

  #map({ ia, size, output, attributes, options, prepared }: Command & { readonly op: 'map' }): void {
    if (prepared === undefined || this.setup.by === 'linux') {
      this.table.map(ia, size, output, attributes, { ...options, ...this.#mode() });
      return;
    }
    const outcome = this.table.prepareMap(ia, size, output, attributes, options);
    if (outcome.kind === 'done') outcome.value[prepared === 'commit' ? 'commit' : 'cancel']();
  }

  /** Everything of the context. */
  #flush(): void {
    for (const step of this.format.tlbi.all) this.#step(step.type === 'tlbi' ? { type: 'tlbi', op: step.op } : step);
  }

  #access(type: Kind): Access {
    return { regime: this.#regime, type, privileged: true };
  }

  #tags() {
    const { regime } = this.setup;
    const tag = regime === 's2' ? { vmid: VMID } : regime === 'el10' || regime === 'pl10' ? { asid: ASID } : {};
    return { regime, root: this.table.root, ...tag };
  }

  /** What a walk of memory as it is now finds: no TLB, nothing late. */
  #says(decoded: Context, memory: SparseMemory): (ia: number, kind: Kind) => string {
    const out = createTranslation();
    const reader = readerMemory(memory);
    return (ia, kind) => (translate(decoded, reader, ia, this.#access(kind), out) ? `to 0x${out.output.toString(16)}` : `${out.fault.type} fault`);
  }
}
