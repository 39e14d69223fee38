import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { fake } from '@granule/conformance';
import type { Format, Registers } from '@granule/contract';
import { stage1Geometry, stage2Geometry } from '@granule/geometry';
import { alignDown, low32 } from '@granule/geometry/bits';
import { createTableArena } from '@granule/memory';
import { context, contextOf, createTranslation, mapWords, tableMemory, translateWords, type Access, type Context, type DescriptorMemory, type Mapped } from '@granule/mmu';
import { createPageTable, newLookup, type GranulePageTable } from '@granule/pgtable';
import { print, ratio, type Row } from './measure.js';
import { GIB, must, RW, stage2Format, warmUp } from './tables.js';

/** Translations a second through one and two stages, 4K pages, beside the bare lookup of one table; formats of every backend in use. */

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

/** Words that are a leaf or a table to every format, whatever the address. */
const anyMemory: DescriptorMemory = {
  load(pa, into) {
    into.lo = (alignDown(low32(pa), 12) % 0x100000) + 0x7ff;
    into.hi = 0;
    return true;
  },
};

/** A context of tables of any format, with neutral controls around it. */
function contextFor(format: Format): Context {
  const range = { format, base: 0x4000_0000, iaBits: format.geometry.iaBits, walkOff: false, unprivilegedOff: false, topByteIgnored: false, topByteIgnoredFetch: false, hierarchical: false, shareability: 3 };
  const { stage1: [stage1] } = must(armv8.registers.controls!({ SCTLR_EL1: 5n }, FEATURES));
  return contextOf({ stage1: [{ ...stage1, lower: range, upper: undefined }], virtualised: '', stage2: undefined });
}

/** So that no loop is compiled for one backend alone: ARMv7 in two stages, the fake's formats, and another granule of ARMv8. */
function useOthers(): void {
  const out = createTranslation();
  const mapped = newMapped();
  const armv7 = must(context(armv7Lpae, {}, { SCTLR: 0x1005n, TTBCR: 1n << 31n, HCR: 1n, VTCR: 0x8000_0058n }));
  const others = [stage2Format(fake, '4K', 40), stage2Format(armv8, '16K', 40), stage2Format(armv8, '64K', 48, true)].map(contextFor);
  for (let i = 0; i < 50_000; i += 1) {
    for (const decoded of [armv7, ...others]) {
      const access = decoded === armv7 ? { ...READ, regime: 'pl10' } : READ;
      translateWords(decoded, anyMemory, i * PAGE, 0, access, out);
      mapWords(decoded, anyMemory, i * PAGE, 0, access, mapped);
    }
  }
}

const newMapped = (): Mapped => ({ output: 0, permissions: 0, shift: 0 });

/** Addresses of one sample, and samples: short ones, so that many are not interrupted. */
const SAMPLE = 4096;
const SAMPLES = 1000;

/** Every page once, in an order that jumps. */
function addressesOf(bytes: number): Float64Array {
  const pages = bytes / PAGE;
  return Float64Array.from({ length: 2 ** 18 }, (_, i) => ((i * 40503) % pages) * PAGE + (i % PAGE));
}

/** Where results go, so that none is computed for nobody. */
let sum = 0;

type Sample = (from: number, to: number) => void;

/** ns for each address, sample by sample. The contestants take turns, each at other addresses, so that whatever slows this machine down slows all of them. */
function samplesOf(addresses: Float64Array, contestants: Readonly<Record<string, Sample>>): Readonly<Record<string, readonly number[]>> {
  const all = Object.entries(contestants);
  const times: Record<string, number[]> = Object.fromEntries(all.map(([what]) => [what, []]));
  for (let i = 0; i < SAMPLES * all.length; i += 1) {
    const [what, run] = all[i % all.length];
    const from = (i * SAMPLE) % addresses.length;
    const start = process.hrtime.bigint();
    run(from, from + SAMPLE);
    times[what].push(Number(process.hrtime.bigint() - start) / SAMPLE);
  }
  return times;
}

function median(values: readonly number[]): number {
  return [...values].sort((one, two) => one - two)[values.length >>> 1];
}

const TWO_32 = 4294967296;

function measure(title: string, bytes: number): void {
  const { memory, stage1, one, two } = guest(bytes);
  const addresses = addressesOf(bytes);
  const found = newLookup();
  const whole = (decoded: Context): Sample => {
    const out = createTranslation();
    return (from, to) => {
      for (let i = from; i < to; i += 1) {
        if (!translateWords(decoded, memory, addresses[i] | 0, Math.floor(addresses[i] / TWO_32), READ, out)) throw new Error(JSON.stringify(out.fault));
        sum += out.output;
      }
    };
  };
  const cheap = (decoded: Context): Sample => {
    const mapped = newMapped();
    return (from, to) => {
      for (let i = from; i < to; i += 1) {
        if (!mapWords(decoded, memory, addresses[i] | 0, Math.floor(addresses[i] / TWO_32), READ, mapped)) throw new Error('fault');
        sum += mapped.output;
      }
    };
  };
  const times = samplesOf(addresses, {
    'lookup in one table': (from, to) => {
      for (let i = from; i < to; i += 1) {
        stage1.lookup(addresses[i], found);
        sum += found.output;
      }
    },
    'stage 1, address and rights': cheap(one),
    'stage 1': whole(one),
    'two stages, address and rights': cheap(two),
    'two stages': whole(two),
  });
  const rows: Row[] = Object.entries(times).map(([what, each]) => ({ what, value: `${median(each).toFixed(1)} ns, ${(1e3 / median(each)).toFixed(1)} M/s` }));
  const lookups = times['lookup in one table'];
  for (const what of ['two stages, address and rights', 'two stages']) {
    rows.push(ratio(what, median(times[what].map((time, i) => time / lookups[i])), 12, 'lookups'));
  }
  print(title, rows);
}

warmUp();
useOthers();
measure('1 GiB of pages', GIB);
measure('64 GiB of pages', 64 * GIB);
if (!Number.isFinite(sum)) throw new Error('addresses are finite');
