import { type Outcome, done, DONE, refused } from '@granule/contract';
import { type Granule, GRANULES, stage2Geometry } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import { createTableArena } from '@granule/memory';
import type { NestedOptions } from '@granule/kvm';
import { createPageTable, type GranulePageTable } from '@granule/pgtable';
import { SCENARIO_SCHEMA } from '../../scenario.js';
import type { StepOf } from '../../steps.js';
import { type Store, storesOf } from '../stores.js';

const DEFAULT_IPA_BITS = 40;
const MAX_PAGES = 4096;

/** A stage-2 table of a guest hypervisor, as it means it to be; its memory has what it has stored so far. */
export class GuestStage2 {
  readonly #stored = new Map<number, bigint>();

  private constructor(
    private readonly table: GranulePageTable,
    private readonly base: number,
    readonly granule: Granule,
    readonly ipaBits: number,
    /** VTCR_EL2 that goes with it. */
    readonly vtcr: bigint,
  ) {}

  /** IPA of the entry tables: what VTTBR_EL2.BADDR gets. */
  get root(): number {
    return this.table.root;
  }

  /** An empty one. Refused: what geometry, page-table core and backend refuse of the machine that the guest hypervisor sees. */
  static make({ guest }: NestedOptions, { table: base, granule = guest.hostGranule, ipaBits = DEFAULT_IPA_BITS }: StepOf<'stage2'>): Outcome<GuestStage2> {
    const { backend, paBits, features } = guest;
    const pageShift = GRANULES[granule].pageShift;
    if (base % 2 ** pageShift !== 0) {
      return refused('scenario.step', `table ${hex(base)} is not a multiple of the page size, ${2 ** pageShift} bytes.`, SCENARIO_SCHEMA);
    }
    const geometry = stage2Geometry({ granule, ipaBits, paBits, features: { granules: features.granules2, lpa: false, lpa2: false, ttst: false } });
    if (geometry.kind !== 'done') {
      return geometry;
    }
    const format = backend.format('s2', { geometry: geometry.value, features });
    if (format.kind !== 'done') {
      return format;
    }
    const memory = createTableArena({ pageShift, base, maxPages: MAX_PAGES, initialPages: 16 });
    const table = createPageTable({ format: format.value, memory });
    if (table.kind !== 'done') {
      return table;
    }
    const registers = backend.registers.encodeStage2({ geometry: geometry.value, features: { ...features, paBits }, ha: false, root: table.value.root });
    return registers.kind === 'done' ? done(new GuestStage2(table.value, base, granule, ipaBits, registers.value.vtcr)) : registers;
  }

  /** Maps and unmaps. Refused: a table that was made otherwise, and what the core refuses. */
  change({ map = [], unmap = [], granule = this.granule, ipaBits = this.ipaBits }: StepOf<'stage2'>): Outcome<undefined> {
    if (granule !== this.granule || ipaBits !== this.ipaBits) {
      const sentence = `The table at ${hex(this.base)} was made with ${this.granule} pages and ${this.ipaBits} bits of input, not with ${granule} and ${ipaBits}.`;
      return refused('scenario.step', sentence, SCENARIO_SCHEMA);
    }
    for (const { ipa, size } of unmap) {
      const outcome = this.table.unmap(ipa, size);
      if (outcome.kind !== 'done') {
        return outcome;
      }
    }
    for (const { ipa, to, size, writable = true, executable = true } of map) {
      const outcome = this.table.map(ipa, size, to, { read: true, write: writable, px: executable, ux: executable, memory: 'normal', af: true }, { over: 'replace' });
      if (outcome.kind !== 'done') {
        return outcome;
      }
    }
    return DONE;
  }

  /** Descriptors that differ from what was stored last, which they are from here on. */
  stores(): readonly Store[] {
    const changed = storesOf(this.table.memory, this.base, this.#stored);
    changed.forEach(({ address, value }) => this.#stored.set(address, value));
    return changed;
  }
}
