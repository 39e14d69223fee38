import { armv8 } from '@granule/armv8';
import { contextFormats, createJudge, FiniteTlb, Machine } from '@granule/cache-tlb';
import type { ContextFormat, Effect, EffectSink, TlbEntry, TlbQuery } from '@granule/contract';
import { createTableArena, SparseMemory } from '@granule/memory';
import { createPageTable, type GranulePageTable } from '@granule/pgtable';
import { recorder } from '@granule/conformance';
import { fastest, print, ratio } from './measure.js';
import { GIB, must, RW, stage2Format, warmUp } from './tables.js';

/** What it costs to listen: 1 GiB of 4K pages mapped bare, recorded, judged; hits of a finite TLB; accesses of a PE. */

const PAGE = 4096;
const FORMAT = stage2Format(armv8, '4K', 40);
const CONTEXT: ContextFormat = { backend: 'armv8', granule: '4K', iaBits: 40, oaBits: 48, startLevel: 1, features: { xnx: true } };
const formats = contextFormats({ armv8 });

function tableWith(sink: EffectSink | undefined): GranulePageTable {
  const memory = createTableArena({ pageShift: 12, base: 2 ** 40, initialPages: 1024 });
  return must(createPageTable({ format: FORMAT, memory, coherence: { fwb: true, dic: true }, ...(sink !== undefined && { sink }) }));
}

function judged(table: (sink: EffectSink) => GranulePageTable): { readonly table: GranulePageTable; readonly effect: EffectSink } {
  const judge = createJudge({ format: formats });
  const made = table(judge);
  judge.effect({ type: 'context-installed', regime: 's2', root: made.root, vmid: 1, format: CONTEXT });
  return { table: made, effect: judge };
}

/** ns of mapping 1 GiB by pages into an empty table. */
function mapCost(table: GranulePageTable, after: () => void = () => undefined): number {
  const before = (): void => {
    must(table.unmap(GIB, GIB));
    after();
  };
  return fastest(() => must(table.map(GIB, GIB, 5 * GIB, RW, { pages: true })), { samples: 20, before });
}

/** Events a second of a log of single pages mapped and unmapped. */
function judgeRate(): number {
  const kept = recorder();
  const table = tableWith(kept);
  for (let i = 0; i < 20_000; i += 1) {
    must(table.map(GIB + (i % 512) * PAGE, PAGE, 5 * GIB, RW));
    must(table.unmap(GIB + (i % 512) * PAGE, PAGE));
  }
  const log: readonly Effect[] = kept.effects;
  const ns = fastest(
    () => {
      const judge = createJudge({ format: formats });
      judge.effect({ type: 'context-installed', regime: 's2', root: table.root, vmid: 1, format: CONTEXT });
      for (const each of log) judge.effect(each);
    },
    { samples: 10 },
  );
  return (log.length / ns) * 1e9;
}

/** Hits a second on a TLB of 1024 entries in 256 sets. */
function hitRate(): number {
  const tlb = new FiniteTlb({ arrays: [{ name: 'main', sets: 256, ways: 4, replacement: 'lru', stages: ['combined'], kind: 'leaf' }] });
  const entry: TlbEntry = {
    regime: 'el10', stage: 'combined', kind: 'leaf', vmid: 1, asid: 3, level: 3, pageShift: 12, input: 0, shift: 12, ipa: 0, output: 0, attributes: 0xff,
    shareability: 3, permissions: 3, contiguous: false,
  };
  for (let i = 0; i < 1024; i += 1) tlb.insert({ ...entry, input: i * PAGE, output: i * PAGE });
  const query: TlbQuery = { regime: 'el10', stage: 'combined', kind: 'leaf', vmid: 1, asid: 3, address: 0 };
  const ns = fastest(() => {
    for (let i = 0; i < 2 ** 18; i += 1) {
      query.address = ((i * 403) % 1024) * PAGE;
      tlb.lookup(query);
    }
  });
  return (2 ** 18 / ns) * 1e9;
}

/** Loads a second of one PE that hit its TLB. */
function accessRate(): number {
  const memory = new SparseMemory();
  must(memory.addZeroed(0, 2 ** 41));
  const tlb = new FiniteTlb({ arrays: [{ name: 'main', sets: 64, ways: 4, replacement: 'lru', stages: ['combined', 'stage1'], kind: 'leaf' }] });
  const machine = new Machine({ backend: armv8, features: { paBits: 48 }, memory, pes: [{ registers: {}, tlb }] });
  const [pe] = machine.pes;
  const table = tableWith(pe.tables(FORMAT));
  must(table.map(0, 64 * PAGE, GIB, RW));
  const { vtcr, vttbr } = must(armv8.registers.encodeStage2({ geometry: FORMAT.geometry, features: {}, root: table.root, vmid: 1 }));
  for (const [name, value] of Object.entries({ HCR_EL2: (1n << 31n) | 1n, VTCR_EL2: vtcr, VTTBR_EL2: vttbr })) pe.writeRegister(name, value);
  const addresses = Array.from({ length: 64 }, (_, i) => BigInt(i * PAGE));
  const ns = fastest(() => {
    for (let i = 0; i < 4096; i += 1) pe.read('el10', addresses[i % 64]);
  });
  return (4096 / ns) * 1e9;
}

const million = (rate: number): string => `${(rate / 1e6).toFixed(2)} M/s`;

warmUp();
const bare = mapCost(tableWith(undefined));
const kept = recorder();
const recorded = mapCost(tableWith(kept), () => void kept.drain());
const { table } = judged((sink) => tableWith(sink));
const watched = mapCost(table);
print('Mapping 1 GiB by 4K pages', [
  { what: 'bare', value: `${(bare / 1e6).toFixed(2)} ms` },
  ratio('recorded', recorded / bare, 20, 'x bare'),
  ratio('judged', watched / bare, 150, 'x bare'),
]);
print('Rates', [
  { what: 'events judged', value: million(judgeRate()) },
  { what: 'hits of a finite TLB', value: million(hitRate()) },
  { what: 'loads of a PE that hit', value: million(accessRate()) },
]);
