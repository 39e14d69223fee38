import { AdversarialTlb, FiniteTlb, type FiniteTlbConfig } from '@granule/cache-tlb';
import type { TlbEntry, TlbModel, TlbQuery } from '@granule/contract';
import { fastest, fillUnit, print, type Row } from './measure.js';

/** Lookups that hit, misses and fills of the TLB models: hits per second, and ns over what Float64Array.fill takes for 8 bytes. */

const PAGE = 4096;
const ROUND = 2 ** 16;

/** A first level of pages and blocks side by side, as small cores have them, and a unified second one. */
const SPLIT: FiniteTlbConfig = {
  arrays: [
    { name: 'pages', sets: 16, ways: 4, replacement: 'lru', stages: ['stage1', 'combined'], kind: 'leaf', shifts: [12] },
    { name: 'blocks', sets: 1, ways: 8, replacement: 'lru', stages: ['stage1', 'combined'], kind: 'leaf', shifts: [21, 30] },
    { name: 'walks', sets: 4, ways: 4, replacement: 'round-robin', stages: ['stage1', 'combined'], kind: 'table' },
    { name: 'ipa', sets: 8, ways: 2, replacement: 'round-robin', stages: ['stage2'], kind: 'leaf' },
  ],
};
const UNIFIED: FiniteTlbConfig = {
  arrays: [{ name: 'unified', sets: 256, ways: 4, replacement: 'lru', stages: ['stage1', 'combined', 'stage2'], kind: 'leaf' }],
};

function leaf(index: number, shift = 12): TlbEntry {
  const level = shift === 12 ? 3 : 2;
  const input = index * 2 ** shift;
  return {
    regime: 'el10', stage: 'combined', kind: 'leaf', vmid: 1, asid: index % 3 === 0 ? -1 : 5, level, pageShift: 12, input, shift,
    ipa: input, output: 2 ** 40 + input, attributes: 0xff, shareability: 3, permissions: 3, contiguous: false,
  };
}

/** ns of one lookup of `addresses` in turn, and how many of them hit. */
function lookups(tlb: TlbModel, addresses: Float64Array): { readonly ns: number; readonly hits: number } {
  const query: TlbQuery = { regime: 'el10', stage: 'combined', kind: 'leaf', vmid: 1, asid: 5, address: 0 };
  let hits = 0;
  const body = (): void => {
    hits = 0;
    for (let i = 0; i < ROUND; i++) {
      query.address = addresses[i] ?? 0;
      if (tlb.lookup(query) !== undefined) hits++;
    }
  };
  return { ns: fastest(body, { samples: 50 }) / ROUND, hits };
}

function spread(pages: number): Float64Array {
  return Float64Array.from({ length: ROUND }, (_, i) => ((i * 40503) % pages) * PAGE + (i % PAGE));
}

function filled(tlb: TlbModel, pages: number, blocks = 0): TlbModel {
  for (let i = 0; i < pages; i++) tlb.insert(leaf(i));
  for (let i = 0; i < blocks; i++) tlb.insert(leaf(512 + i, 21));
  return tlb;
}

function hitRow(what: string, tlb: TlbModel, pages: number): Row {
  const { ns, hits } = lookups(tlb, spread(pages));
  if (hits !== ROUND) throw new Error(`${what}: ${String(hits)} of ${String(ROUND)} hit`);
  return { what, value: `${(1000 / ns).toFixed(0)} M/s ${(ns / unit).toFixed(0)} fills` };
}

/** Fills that evict: each new page takes the place of an older one. */
function fills(tlb: TlbModel): number {
  const entries = Array.from({ length: ROUND }, (_, i) => leaf(i));
  return fastest(() => { for (const each of entries) tlb.insert(each); }, { samples: 20 }) / ROUND;
}

const unit = fillUnit();
const missed = lookups(filled(new FiniteTlb(SPLIT), 64, 8), Float64Array.from({ length: ROUND }, (_, i) => 2 ** 39 + i * PAGE));
const evicting = fills(new FiniteTlb(UNIFIED));
print(`TLB, 4K pages (a fill is ${unit.toFixed(3)} ns)`, [
  hitRow('hits, 64 pages, split', filled(new FiniteTlb(SPLIT), 64), 64),
  hitRow('hits, 64 pages beside 8 blocks, split', filled(new FiniteTlb(SPLIT), 64, 8), 64),
  hitRow('hits, 1024 pages, unified', filled(new FiniteTlb(UNIFIED), 1024), 1024),
  hitRow('hits, 512 pages and blocks, unified', filled(new FiniteTlb(UNIFIED), 512, 16), 512),
  hitRow('hits, 1024 pages, adversarial', filled(new AdversarialTlb(), 1024), 1024),
  { what: 'misses, split', value: `${(1000 / missed.ns).toFixed(0)} M/s` },
  { what: 'fills that evict, unified', value: `${(1000 / evicting).toFixed(0)} M/s` },
]);
