import { armv8 } from '@granule/armv8';
import { contextFormats, createJudge, type Judge } from '@granule/cache-tlb';
import { recorder } from '@granule/conformance';
import type { ContextEffect, EffectSink } from '@granule/contract';
import { bytesSource, createTableArena } from '@granule/memory';
import { createPageTable, type GranulePageTable } from '@granule/pgtable';
import { eventLogWriter, readEventLog } from '@granule/snapshot';
import { fastest, print } from './measure.js';
import { GIB, must, RW, warmUp } from './tables.js';

/** What listening costs: a map and an unmap of 1 GiB by pages bare, recorded and judged; and a log of 1,000,000 events, read and judged. */

const INSTALLED: ContextEffect = {
  type: 'context-installed',
  regime: 's2',
  root: 0,
  vmid: 1,
  format: { backend: 'armv8', granule: '4K', iaBits: 40, oaBits: 48, startLevel: 1, features: { ttl: true, tlbirange: true } },
};
const formats = contextFormats({ armv8 });
const format = must(formats(INSTALLED));
const newJudge = (): Judge => createJudge({ format: formats });

function table(sink?: EffectSink): GranulePageTable {
  const memory = createTableArena({ pageShift: 12, initialPages: 1024 });
  const made = must(createPageTable({ format, memory, coherence: { fwb: true, dic: true }, ...(sink === undefined ? {} : { sink }) }));
  sink?.effect({ ...INSTALLED, root: made.root });
  return made;
}

/** ns of a map of 1 GiB by pages, and of its unmap page by page. */
function gib(sink: () => EffectSink | undefined): { readonly map: number; readonly unmap: number } {
  let live = table(sink());
  const mapped = (): unknown => must(live.map(GIB, GIB, 4 * GIB, RW, { pages: true }));
  const map = fastest(mapped, { samples: 8, before: () => (live = table(sink())) });
  const before = (): void => {
    live = table(sink());
    mapped();
  };
  return { map, unmap: fastest(() => must(live.unmap(GIB, GIB)), { samples: 5, before }) };
}

/** Single pages mapped and unmapped until there are 1,000,000 events. */
function millionEvents(): Uint8Array {
  const lines: string[] = [];
  const live = table(eventLogWriter((line) => lines.push(line)));
  for (let i = 0; lines.length < 1_000_000; i = (i + 1) % 4096) {
    must(live.map(i * 4096, 4096, GIB + i * 4096, RW));
    must(live.unmap(i * 4096, 4096));
  }
  return new TextEncoder().encode(lines.join('\n'));
}

warmUp();
const bare = gib(() => undefined);
const recorded = gib(recorder);
const judged = gib(newJudge);
const times = (value: number, by: number): string => `${(value / 1e6).toFixed(2)} ms, ${(value / by).toFixed(1)} x bare`;
print('1 GiB by pages, somebody listening', [
  { what: 'map, bare', value: `${(bare.map / 1e6).toFixed(2)} ms` },
  { what: 'map, recorded', value: times(recorded.map, bare.map) },
  { what: 'map, judged', value: times(judged.map, bare.map) },
  { what: 'unmap, bare', value: `${(bare.unmap / 1e6).toFixed(2)} ms` },
  { what: 'unmap, recorded', value: times(recorded.unmap, bare.unmap) },
  { what: 'unmap, judged', value: times(judged.unmap, bare.unmap) },
]);

const log = bytesSource(millionEvents());
const kept = recorder();
must(readEventLog(log, kept));
const read = fastest(() => must(readEventLog(log, { effect: () => undefined })), { samples: 3 });
const alone = fastest(
  () => {
    const judge = newJudge();
    kept.effects.forEach((each) => judge.effect(each));
  },
  { samples: 3 },
);
const both = fastest(() => must(readEventLog(log, newJudge())), { samples: 3 });
const { length } = kept.effects;
const rate = (ns: number): string => `${((length / ns) * 1e3).toFixed(2)} M events/s`;
print(`a log of ${length} events, ${(log.size / 2 ** 20).toFixed(0)} MiB`, [
  { what: 'read', value: rate(read) },
  { what: 'judged', value: rate(alone) },
  { what: 'read and judged', value: `${(both / 1e9).toFixed(2)} s`, limit: '<= 6 s', kept: both <= 6e9 },
]);
