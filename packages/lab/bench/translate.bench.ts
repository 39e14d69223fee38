import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import type { Format, Registers } from '@granule/contract';
import { stage1Geometry, stage2Geometry } from '@granule/geometry';
import { alignDown, low32 } from '@granule/geometry/bits';
import { createTableArena } from '@granule/memory';
import { context, createTranslation, mapWords, tableMemory, translateWords, type Access, type Context, type DescriptorMemory } from '@granule/mmu';
import { createPageTable, newLookup, type GranulePageTable } from '@granule/pgtable';
import { fastest, print, ratio, type Row } from './measure.js';
import { GIB, must, RW, warmUp } from './tables.js';

/** Translations a second through one and two stages, 4K pages, beside the bare lookup of one table; ARMv8 and ARMv7 both in use. */

const PAGE = 4096;
/** The guest's tables lie where the arena is, and stage 2 maps them there. */
const BASE = 0x1_0000_0000;
const DATA = 64 * GIB;
const MAIR = 0xffn;
const FEATURES = { paBits: 48, xnx: true } as const;

interface Guest {
  readonly memory: DescriptorMemory;
  readonly stage1: GranulePageTable;
  readonly one: Context;
  readonly two: Context;
}

function tableOf(format: Format, arena: ReturnType<typeof createTableArena>): GranulePageTable {
  return must(createPageTable({ format, memory: arena }));
}

/** `bytes` of pages from VA 0 to IPA DATA, and those by stage 2 to themselves; the tables' own pages too. */
function guest(bytes: number): Guest {
  const pages = Math.ceil((bytes / PAGE / 512) * 2.2) + 4096;
  const arena = createTableArena({ pageShift: 12, base: BASE, maxPages: pages, initialPages: pages });
  const first = must(armv8.format('el10', { geometry: must(stage1Geometry({ granule: '4K', vaBits: 39 })), mair: MAIR, features: FEATURES }));
  const second = must(armv8.format('s2', { geometry: must(stage2Geometry({ granule: '4K', ipaBits: 40 })), features: FEATURES }));
  const stage1 = tableOf(first, arena);
  const stage2 = tableOf(second, arena);
  must(stage1.map(0, bytes, DATA, { write: true, px: false, ux: false, memory: 'normal' }, { pages: true }));
  must(stage2.map(DATA, bytes, DATA, RW, { pages: true }));
  must(stage2.map(BASE, pages * PAGE, BASE, RW, { pages: true }));
  const { vtcr, vttbr } = must(armv8.registers.encodeStage2({ geometry: second.geometry, features: FEATURES, root: stage2.root }));
  const stage1Registers: Registers = { SCTLR_EL1: 0x1005n, TCR_EL1: (5n << 32n) | (1n << 23n) | 25n, TTBR0_EL1: BigInt(stage1.root), MAIR_EL1: MAIR };
  const decode = (registers: Registers): Context => must(context(armv8, FEATURES, registers));
  const one = decode({ ...stage1Registers, HCR_EL2: 1n << 31n });
  const two = decode({ ...stage1Registers, HCR_EL2: (1n << 31n) | 1n, VTCR_EL2: vtcr, VTTBR_EL2: vttbr });
  return { memory: tableMemory(arena), stage1, one, two };
}

const READ: Access = { regime: 'el10', type: 'read', privileged: true };

/** So that no loop is compiled for one backend alone. */
function useArmv7(): void {
  const memory: DescriptorMemory = {
    load(pa, into) {
      into.lo = alignDown(low32(pa), 12) % 0x100000 + 0x7ff;
      into.hi = 0;
      return true;
    },
  };
  const decoded = must(context(armv7Lpae, {}, { SCTLR: 0x1005n, TTBCR: 1n << 31n, HCR: 1n, VTCR: 0x8000_0058n }));
  const out = createTranslation();
  const mapped = { output: 0, permissions: 0, shift: 0 };
  for (let i = 0; i < 50_000; i++) {
    translateWords(decoded, memory, i * PAGE, 0, { ...READ, regime: 'pl10' }, out);
    mapWords(decoded, memory, i * PAGE, 0, { ...READ, regime: 'pl10' }, mapped);
  }
}

function addressesOf(bytes: number): Float64Array {
  const pages = bytes / PAGE;
  return Float64Array.from({ length: 2 ** 18 }, (_, i) => ((i * 40503) % pages) * PAGE + (i % PAGE));
}

function measure(title: string, bytes: number): void {
  const { memory, stage1, one, two } = guest(bytes);
  const addresses = addressesOf(bytes);
  const out = createTranslation();
  const mapped = { output: 0, permissions: 0, shift: 0 };
  const found = newLookup();
  const per = (body: (at: number) => void): number =>
    fastest(() => {
      for (const at of addresses) body(at);
    }) / addresses.length;
  const whole = (decoded: Context) => (at: number): void => {
    if (!translateWords(decoded, memory, at >>> 0, Math.floor(at / 4294967296), READ, out)) throw new Error(JSON.stringify(out.fault));
  };
  const cheap = (decoded: Context) => (at: number): void => {
    if (!mapWords(decoded, memory, at >>> 0, Math.floor(at / 4294967296), READ, mapped)) throw new Error('fault');
  };
  const lookup = per((at) => { stage1.lookup(at, found); });
  const costs = { 'stage 1': per(whole(one)), 'stage 1, address only': per(cheap(one)), 'two stages': per(whole(two)), 'two stages, address only': per(cheap(two)) };
  const rows: Row[] = [{ what: 'lookup in one table', value: `${lookup.toFixed(1)} ns` }];
  for (const [what, cost] of Object.entries(costs)) rows.push({ what, value: `${cost.toFixed(1)} ns, ${(1e3 / cost).toFixed(1)} M/s` });
  rows.push(ratio('two stages, address only', costs['two stages, address only'] / lookup, 12, 'lookups'));
  rows.push(ratio('two stages', costs['two stages'] / lookup, 12, 'lookups'));
  print(title, rows);
}

warmUp();
useArmv7();
measure('1 GiB of pages', GIB);
measure('64 GiB of pages', 64 * GIB);
