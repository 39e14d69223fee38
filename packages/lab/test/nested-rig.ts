import { armv8 } from '@granule/armv8';
import { AdversarialTlb, Machine, type Choose, type Pe } from '@granule/cache-tlb';
import { expandEffect, leafFor, type Access, type Attempt, type HostOptions, type ShadowHost } from '@granule/conformance';
import { DONE, ENTRY, type Effect, type Format, type LookupResult, type Outcome, type ShadowLeaf, type ShadowLimits } from '@granule/contract';
import { entrySpan, stage2Geometry } from '@granule/geometry';
import { createTableArena, SparseMemory } from '@granule/memory';
import { createPageTable, type GranulePageTable } from '@granule/pgtable';
import { must, random } from './maintenance-rig.js';

/** Where tables of shadows are: above everything that the guest's memory is mapped to. */
const TABLES = 2 ** 44;
/** Of one shadow. */
const POOL = 2 ** 32;

interface Shadow {
  readonly table: GranulePageTable;
  readonly vttbr: bigint;
}

/** What of a shadow's maintenance gets lost, to see that somebody notices. */
export type Lost = (effect: Effect) => boolean;

/**
 * Shadows as real tables, each with a VMID of its own, under a machine of two PEs whose TLBs keep all that they may. A vCPU runs on the PE of its number, and
 * faults, invalidations and unmapping are carried out on the PE of the vCPU that did something last; the other one goes on speculating in its guest.
 */
export class MachineHost implements ShadowHost {
  readonly machine: Machine;
  accesses = 0;
  readonly #format: Format;
  readonly #vtcr: bigint;
  readonly #shadows: Shadow[] = [];
  /** By PE: the shadow that it runs in. */
  readonly #inside: (number | undefined)[] = [undefined, undefined];
  readonly #next: () => number;
  #acting = 0;
  #address = 0;

  constructor(
    private readonly options: HostOptions,
    seed: number,
    private readonly lost: Lost = () => false,
  ) {
    const { guest } = options;
    const memory = new SparseMemory();
    must(memory.add([{ pa: 0, bytes: 2 ** 48, fileBytes: 0, source: { size: 0, read: () => 0 }, offset: 0 }]));
    this.#next = random(seed);
    const choose: Choose = (count) => Math.floor(this.#next() * count);
    const features = { paBits: 48, xnx: true, granules2: guest.features.granules2 } as const;
    this.machine = new Machine({ backend: armv8, features, memory, choose, pes: [0, 1].map(() => ({ registers: {}, tlb: new AdversarialTlb() })) });
    const geometry = must(stage2Geometry({ granule: guest.hostGranule, ipaBits: guest.paBits, paBits: 48 }));
    this.#format = must(armv8.format('s2', { geometry, features: { xnx: true } }));
    this.#vtcr = must(armv8.registers.encodeStage2({ geometry, features: { paBits: 48 } })).vtcr;
    for (const pe of this.machine.pes) {
      pe.writeRegister('HCR_EL2', must(armv8.registers.encode('HCR_EL2', { VM: 1, RW: 1 })));
      pe.writeRegister('VTCR_EL2', this.#vtcr);
      pe.isb();
    }
  }

  add(context: number): Outcome<undefined> {
    const { pageShift, entryTables } = this.#format.geometry;
    const memory = createTableArena({ pageShift, base: TABLES + context * POOL, maxPages: 64 + entryTables, initialPages: 16 + entryTables });
    const sink = { effect: (run: Effect) => { for (const each of expandEffect(run, (level) => entrySpan(this.#format.geometry.granule, level))) this.#step(each); } };
    const table = must(createPageTable({ format: this.#format, memory, sink, coherence: { fwb: true, dic: true } }));
    const { vttbr } = must(armv8.registers.encodeStage2({ geometry: this.#format.geometry, features: { paBits: 48 }, root: table.root, vmid: context + 1 }));
    this.#shadows[context] = { table, vttbr };
    return DONE;
  }

  enter(vcpu: number, context: number): void {
    this.#acting = vcpu;
    this.#inside[vcpu] = context;
    const pe = this.machine.pes[vcpu];
    pe.maintenance.dsb('ishst');
    pe.writeRegister('VTTBR_EL2', this.#shadows[context].vttbr);
    pe.isb();
  }

  attempt(vcpu: number, context: number, ipa: number, access: Access): Attempt {
    this.#acting = vcpu;
    this.#address = ipa;
    const pe = this.machine.pes[vcpu];
    this.#use(pe, context);
    this.accesses += 1;
    const answer = pe.access({ regime: 'el10', type: access.type, privileged: access.privileged, address: BigInt(ipa), bytes: 4, value: 0n });
    if (answer.kind === 'done') return { kind: 'reached', output: answer.output };
    if (answer.kind !== 'fault' || answer.fault.stage !== 2) throw new Error(`The access answers ${answer.kind}.`);
    const { type } = answer.fault;
    if (type !== 'translation' && type !== 'permission') throw new Error(`The shadow gives a ${type} fault.`);
    return { kind: 'fault', permission: type === 'permission' };
  }

  map(vcpu: number, context: number, ipa: number, limits: ShadowLimits, access: Access): boolean {
    const leaf = leafFor(this.options, ipa, limits, access);
    if (leaf === undefined) return false;
    this.#acting = vcpu;
    const { start, end, output, rights, tag } = leaf;
    const { read, write, executeEl1: px, executeEl0: ux } = rights;
    const there = this.#lookup(context, ipa);
    const same = there.kind === ENTRY.leaf && entrySpan(this.#format.geometry.granule, there.level) === end - start && there.output === output + (ipa - start);
    this.#within(context, (table) => {
      if (same) must(table.relaxPermissions(start, { read, write, px, ux }));
      else must(table.map(start, end - start, output, { read, write, px, ux, software: tag }, { over: 'replace' }));
    });
    return true;
  }

  unmap(context: number, start: number, end: number): void {
    const limit = 2 ** this.#format.geometry.iaBits;
    this.#within(context, (table) => { must(table.unmap(start, Math.min(end, limit) - start, { mode: 'linux' })); });
  }

  writeProtect(context: number): void {
    this.#within(context, (table) => {
      must(table.writeProtect(0, 2 ** this.#format.geometry.iaBits));
      for (const step of this.#format.tlbi.all) this.#step(step.type === 'tlbi' ? { type: 'tlbi', op: step.op } : step);
    });
  }

  flush(): void {
    // Caches are coherent here.
  }

  invalidateStage1(): void {
    // Nested guests have their stage 1 off here.
  }

  leaf(context: number, ipa: number): ShadowLeaf | undefined {
    const { kind, level, lo, hi } = this.#lookup(context, ipa);
    return kind === ENTRY.leaf ? { tag: this.#format.decodeLeaf(lo, hi, level).software } : undefined;
  }

  #lookup(context: number, ipa: number): LookupResult {
    const out: LookupResult = { kind: ENTRY.zero, level: 3, lo: 0, hi: 0, word: -1, output: 0 };
    this.#shadows[context].table.lookup(ipa, out);
    return out;
  }

  /** The hypervisor on the acting PE changes a shadow under that shadow's VMID, and goes back to the one that its vCPU runs in. */
  #within(context: number, act: (table: GranulePageTable) => void): void {
    const pe = this.machine.pes[this.#acting];
    const { table, vttbr } = this.#shadows[context];
    pe.writeRegister('VTTBR_EL2', vttbr);
    pe.isb();
    act(table);
    pe.maintenance.dsb('ishst');
    this.#use(pe, this.#inside[this.#acting] ?? context);
  }

  #use(pe: Pe, context: number): void {
    pe.writeRegister('VTTBR_EL2', this.#shadows[context].vttbr);
    pe.isb();
  }

  /** One effect of the hypervisor, and now and then something of the other PE after it. */
  #step(effect: Effect): void {
    const { pes } = this.machine;
    if (!this.lost(effect)) pes[this.#acting].tables(this.#format).effect(effect);
    const pending = this.machine.pending();
    if (pending.length > 0 && this.#next() < 0.3) this.machine.order.take(pending[Math.floor(this.#next() * pending.length)]);
    const other = 1 - this.#acting;
    const often = effect.type === 'write' && effect.index > 0 ? 0.02 : 0.4;
    if (this.#inside[other] !== undefined && this.#next() < often) {
      pes[other].speculate({ regime: 'el10', type: 'read', privileged: true, address: BigInt(this.#address), bytes: 4 });
    }
  }
}
