import { armv8 } from '@granule/armv8';
import { DONE, ENTRY, type GuestMemory, type HostStage2, type NestedState, type ShadowStage2 } from '@granule/contract';
import { createShadowStage2 } from '@granule/nested';
import { newLookup, type GranulePageTable } from '@granule/pgtable';
import { fastest, print, ratio } from './measure.js';
import { GIB, RW, emptyTable, must, stage2Format, warmUp } from './tables.js';

/** Shadow stage 2, 4K pages on 4K pages: faults taken to completion, and TLBIs by IPA without a TTL hint into shadows of several sizes. */

const PAGE = 4096;
const FORMAT = stage2Format(armv8, '4K', 40);
/** Pages that the guest hypervisor maps for the faults, and TLBIs of one sample. */
const FAULTS = 2 ** 16;
const TLBIS = 4096;

/** The tables of a guest hypervisor, read at its IPAs. */
function memoryOf({ memory }: GranulePageTable): GuestMemory {
  return {
    read(ipa, into) {
      const word = memory.wordOf(ipa, 8);
      if (word < 0) return false;
      const view = new DataView(into.buffer, into.byteOffset);
      view.setUint32(0, memory.words[word] ?? 0, true);
      view.setUint32(4, memory.words[word + 1] ?? 0, true);
      return true;
    },
  };
}

/** One shadow as a table: what the layer asks is done in it. */
function hostOf(table: GranulePageTable): HostStage2 {
  const found = newLookup();
  const limit = 2 ** FORMAT.geometry.iaBits;
  return {
    add: () => DONE,
    unmap: (context, start, end) => {
      if (context === 0) must(table.unmap(start, Math.min(end, limit) - start));
    },
    writeProtect: () => undefined,
    flush: () => undefined,
    leaf: (_, ipa) => (table.lookup(ipa, found) && found.kind === ENTRY.leaf ? { tag: FORMAT.decodeLeaf(found.lo, found.hi, found.level).software } : undefined),
    invalidateStage1: () => undefined,
  };
}

const features = { granules2: ['4K'], xnx: true, ttl: true, tlbirange: true, xs: false } as const;

interface Bench {
  readonly shadow: GranulePageTable;
  readonly layer: ShadowStage2;
  readonly state: NestedState;
}

function bench(pages: number): Bench {
  const own = emptyTable(FORMAT, 256);
  must(own.map(GIB, FAULTS * PAGE, 2 * GIB, RW, { pages: true }));
  const shadow = emptyTable(FORMAT, 16 + Math.ceil(pages / 500));
  const { vtcr } = must(armv8.registers.encodeStage2({ geometry: FORMAT.geometry, features: { paBits: 40 } }));
  const state = { vttbr: (1n << 48n) | BigInt(own.root), vtcr, stage2: true };
  const layer = must(createShadowStage2({ guest: { backend: armv8, paBits: 40, ipaLimit: 40, hostGranule: '4K', features }, memory: memoryOf(own), host: hostOf(shadow) }));
  must(layer.addVcpu());
  layer.load(0, state);
  layer.beforeEntry(0);
  return { shadow, layer, state };
}

/** ns of a fault that ends in a mapping of one page. */
function faults(): number {
  const { shadow, layer } = bench(FAULTS);
  const one = { esr: 0x9200_0007n, permission: false, fetch: false, write: false, privileged: true };
  const all = (): void => {
    for (let ipa = GIB; ipa < GIB + FAULTS * PAGE; ipa += PAGE) {
      const decision = layer.fault(0, { ...one, ipa });
      if (decision.did !== 'map') throw new Error(decision.did);
      const { ipa: output, read, write, level = 0 } = decision.limits;
      must(shadow.map(ipa, PAGE, output + 4 * GIB, { ...RW, read, write, software: level }));
    }
  };
  return fastest(all, { samples: 9, before: () => { must(shadow.unmap(0, 2 ** 40)); } }) / FAULTS;
}

/** ns of a TLBI by IPA that takes one page out of a shadow with so many. */
function tlbis(pages: number): number {
  const { shadow, layer, state } = bench(pages);
  const attributes = { ...RW, software: 3 };
  must(shadow.map(4 * GIB, pages * PAGE, 4 * GIB, attributes, { pages: true }));
  const step = Math.floor(pages / TLBIS) * PAGE;
  const addresses = Array.from({ length: TLBIS }, (_, i) => 4 * GIB + i * step);
  const operands = addresses.map((ipa) => BigInt(ipa / PAGE));
  const body = (): void => {
    for (const operand of operands) layer.tlbi(state, 'IPAS2E1IS', operand);
  };
  const before = (): void => {
    for (const ipa of addresses) {
      if (!shadow.lookup(ipa, newLookup())) throw new Error('outside');
      shadow.map(ipa, PAGE, ipa, attributes, { over: 'replace' });
    }
  };
  body();
  const gone = shadow.query(4 * GIB, PAGE).length;
  if (gone !== 0) throw new Error('A TLBI left its page.');
  return fastest(body, { samples: 9, before }) / TLBIS;
}

warmUp();
const fault = faults();
const [few, many] = [tlbis(TLBIS * 2), tlbis(1_000_000)];
print('nested, 4K on 4K', [
  { what: 'shadow faults, walked and mapped', value: `${(1e6 / fault).toFixed(0)} k/s` },
  { what: 'TLBI by IPA, 8,192 entries', value: `${few.toFixed(0)} ns` },
  { what: 'TLBI by IPA, 1,000,000 entries', value: `${many.toFixed(0)} ns` },
  ratio('many over few', many / few, 3, 'times'),
]);
