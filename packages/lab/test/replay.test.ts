import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { armv8 } from '@granule/armv8';
import { bytesSource } from '@granule/memory';
import { elfCore } from '@granule/snapshot';
import { replayOps, type ReplayOptions, type ReplayReport, replayText } from '../src/index.js';
import { block, page, ROOT, STAGE2, table, valueOf } from './support.js';

type Changes = Readonly<Record<string, string | Uint8Array | undefined>>;

/** The files of a recorded run; `changes` puts other contents in their place, or takes them away. */
function recorded(run: string, changes: Changes = {}): ReplayOptions['files'] {
  const folder = join(import.meta.dirname, 'data', run);
  return {
    open(name) {
      const changed = Object.hasOwn(changes, name) ? changes[name] : undefined;
      const path = join(folder, name);
      if (changed === undefined) {
        return Object.hasOwn(changes, name) || !existsSync(path) ? undefined : bytesSource(readFileSync(path));
      }
      return bytesSource(typeof changed === 'string' ? Buffer.from(changed) : changed);
    },
  };
}

const replay = (files: ReplayOptions['files'], options: Partial<ReplayOptions> = {}): ReplayReport =>
  valueOf(replayOps({ files, backends: { armv8 }, ...options }));

const refusal = (files: ReplayOptions['files'], options: Partial<ReplayOptions> = {}): string => {
  const outcome = replayOps({ files, backends: { armv8 }, ...options });
  return outcome.kind === 'done' ? 'done' : `${outcome.kind} ${outcome.id}`;
};

/** The trace of a recorded run after an edit. */
function edited(run: string, edit: (text: string) => string): ReplayOptions['files'] {
  const text = gunzipSync(readFileSync(join(import.meta.dirname, 'data', run, 'end.trace.txt.gz'))).toString();
  return recorded(run, { 'end.trace.txt': edit(text) });
}

/** Leaves by checkpoint, as an independent walk of the same images found them. */
const LEAVES: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  'D-16k36-T': { c1: 2053, c2: 4101 },
  'replay/A-612-a76': { c1: 219, c2: 219 },
  'replay/B-4k-a76': { c1: 223, c2: 402, c3: 304 },
  'replay/E-4k-nvhe': { c1: 531 + 222, c2: 531 + 222 },
  'replay/G-4k-v3': {
    c20: 35, c1: 12 + 35, c2: 12 + 10 + 35, c3: 12 + 10 + 16 + 36, c4: 12 + 10 + 16 + 8 + 36, c5: 10 + 16 + 8 + 14 + 36,
    c23: 9 + 16 + 8 + 14 + 36, c6: 9 + 16 + 8 + 16 + 36, c21: 16 + 8 + 36, c10: 16 + 8 + 9 + 36, c7: 9 + 16 + 8 + 9 + 52,
    c8: 16 + 8 + 9 + 9 + 100, c9: 8 + 9 + 9 + 8 + 100, c22: 100,
  },
  'replay/Y-4k-a76': { c1: 222, c2: 222, c3: 223 },
};

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);
const identicalLeaves = ({ checkpoints }: ReplayReport): Record<string, number> =>
  Object.fromEntries(checkpoints.map(({ name, tables }) => [name, sum(tables.map(({ mappings }) => mappings.identical))]));

describe('the replay of a real kernel\'s operations makes that kernel\'s tables, bit for bit and page for page', () => {
  it.each(Object.keys(LEAVES))('%s', (run) => {
    const report = replay(recorded(run));
    expect(identicalLeaves(report)).toEqual(LEAVES[run]);
    expect(report.exact).toBe(true);
    const total = sum(Object.values(LEAVES[run])).toLocaleString('en');
    expect(replayText(report).trimEnd().split('\n').at(-1)).toBe(`${total} of ${total} mappings equal`);
  });

  it('reads both layouts of prot', () => {
    expect(replay(recorded('replay/A-612-a76')).prot).toBe('x');
    expect(replay(recorded('replay/Y-4k-a76')).prot).toBe('px-ux');
  });

  it('tells the layout from the values where the version does not', () => {
    const about = '{"run":"x","cpu":"cortex-a76","kernel":"Linux 6.18.0"}';
    for (const run of ['replay/A-612-a76', 'replay/Y-4k-a76']) {
      expect(replay(recorded(run, { 'run.json': about })).exact).toBe(true);
    }
  });

  it('compares every answer of the kernel, the age of pages among them', () => {
    const { answers, operations } = replay(recorded('replay/Y-4k-a76'));
    expect(operations['s2_test_clear_young'].done).toBe(148);
    expect(answers).toEqual({ compared: 225 + 8 + 148, equal: 225 + 8 + 148, missing: 0 });
  });

  it('stops after the checkpoint asked for', () => {
    expect(replay(recorded('replay/G-4k-v3'), { until: 'c3' }).checkpoints.map(({ name }) => name)).toEqual(['c20', 'c1', 'c2', 'c3']);
    expect(refusal(recorded('replay/G-4k-v3'), { until: 'c99' })).toBe('refused replay.no-checkpoint');
  });

  it('finds the tables by content where no event names their root', () => {
    const report = replay(edited('replay/G-4k-v3', (text) => text.replaceAll(/pgd_phys=\w+/g, '')));
    expect(report.exact).toBe(true);
    const from = new Set(report.checkpoints.flatMap(({ tables }) => tables.map(({ rootFrom }) => rootFrom)));
    expect(from).toEqual(new Set(['the first s2_init, and canonicalVTTBR_EL2', 'content']));
  });
});

describe('a replay that differs says where, and which operation was the last', () => {
  it('a mapping to another page', () => {
    const page = 'addr=0x80001000 size=0x1000 phys=';
    const files = edited('replay/B-4k-a76', (text) => text.replace(`${page}0x4`, `${page}0x5`));
    const report = replay(files, { until: 'c1' });
    const [{ differences, mappings }] = report.checkpoints[0].tables;
    expect(mappings).toMatchObject({ total: 223, equal: 222, identical: 222 });
    expect(differences).toMatchObject([{ address: '0x0000000080001000', cause: { trace: 'end.trace.txt' } }]);
    expect(differences[0].ours?.output).not.toBe(differences[0].kernel?.output);
    expect(report.exact).toBe(false);
    expect(replayText(report)).toMatch(/! IPA 0x0000000080001000: ours 0x\w+ level 3 .* last named by s2_\w+, end\.trace\.txt:\d+\n/);
    expect(replayText(report)).toMatch(/\n222 of 223 mappings equal\n$/);
  });

  it('a write-protection that is left out', () => {
    const report = replay(edited('replay/B-4k-a76', (text) => text.replaceAll(/^.*(?: s2_wrprotect|nested_s2_wp): .*\n/gm, '')));
    expect(report.exact).toBe(false);
    expect(report.totals.equal).toBeLessThan(report.totals.mappings);
  });

  it('a kernel that refused what the core does', () => {
    const report = replay(edited('replay/Y-4k-a76', (text) => text.replace(/(s2_map_ret: .*)ret=0/, '$1ret=-22')));
    expect(report.answers.compared - report.answers.equal).toBe(1);
    expect(report.odd).toMatchObject([{ operation: 's2_map', ret: -22, outcome: 'done', agrees: false }]);
    expect(report.exact).toBe(false);
  });

  it('a page that was young for the kernel and old for the core', () => {
    const report = replay(edited('replay/Y-4k-a76', (text) => text.replace(/(s2_test_clear_young_ret: .*)ret=0/, '$1ret=1')));
    expect(report.odd).toMatchObject([{ operation: 's2_test_clear_young', ret: 1, outcome: 'done', agrees: false }]);
  });
});

/** Descriptors by index. */
type Entries = Readonly<Record<number, bigint>>;

/** A run of one 39-bit stage-2 table at {@link ROOT}, whose memory the test writes. */
interface Handmade {
  /** Events without the line's head; `N|` before one is its task. */
  readonly events: readonly string[];
  /** Table pages by address. */
  readonly tables?: Readonly<Record<number, Entries>>;
  readonly vtcr?: bigint;
  readonly changes?: Changes;
}

const INIT = 's2_init: (f+0x0/0x1) pgt=0x10 mmu=0x20 flags=0x0';
const map = (addr: string, size: string, phys: string, prot = '0xc'): string =>
  `s2_map: (f) pgt=0x10 addr=${addr} size=${size} phys=${phys} prot=${prot} flags=0x8`;
const ret = (name: string, value: number): string => `${name}_ret: (f <- g) ret=${value}`;
const MAP_BLOCK = map('0x0', '0x200000', '0x80000000');
const HOLD = 'tracing_mark_write: hold c1';

function handmade({ events, tables = {}, vtcr, changes = {} }: Handmade): ReplayOptions['files'] {
  const lines = events.map((event, i) => {
    const [, pid = '7', text] = /^(?:(\d+)\|)?(.*)$/.exec(event)!;
    return `  vmm-${pid}  [000] d..1.  ${i}.000000: ${text}`;
  });
  const runs = Object.entries<Entries>({ [ROOT]: {}, ...tables }).map(([pa, entries]) => {
    const bytes = new DataView(new ArrayBuffer(4096));
    Object.entries(entries).forEach(([index, descriptor]) => bytes.setBigUint64(Number(index) * 8, descriptor, true));
    return { pa: Number(pa), bytes: new Uint8Array(bytes.buffer) };
  });
  const registers = { ...STAGE2, ...(vtcr === undefined ? {} : { VTCR_EL2: vtcr }) };
  const texts = Object.fromEntries(Object.entries(registers).map(([name, value]) => [name, `0x${value.toString(16)}`]));
  return recorded('none', {
    'run.json': '{"run":"handmade","cpu":"cortex-a76","kernel":"Linux 7.2.13"}',
    'end.trace.txt': `${lines.join('\n')}\n`,
    'c1.regs.json': JSON.stringify({ registers: texts }),
    'c1.core': elfCore(runs),
    ...changes,
  });
}

/** A kernel's page that may not be executed: XN[1] (DDI 0487 D8.4.2, with and without FEAT_XNX). */
const XN = 2n << 53n;
/** Tables that map 2 MiB from IPA 0 on by pages. */
const PAGES_OF_2M = {
  [ROOT]: { 0: table(ROOT + 0x1000) },
  [ROOT + 0x1000]: { 0: table(ROOT + 0x2000) },
  [ROOT + 0x2000]: Object.fromEntries(Array.from({ length: 512 }, (_, i) => [i, page(0x8000_0000 + i * 4096) + XN])),
};
const BLOCK_OF_2M = { [ROOT]: { 0: table(ROOT + 0x1000) }, [ROOT + 0x1000]: { 0: block(0x8000_0000) + XN } };

describe('operations that the recorded runs do not have', () => {
  it('s2_split makes pages of a block, with the pages that Linux sets aside for the chunk', () => {
    const report = replay(handmade({
      events: [INIT, MAP_BLOCK, 's2_split: (f) pgt=0x10 addr=0x0 size=0x200000', ret('s2_split', 0), HOLD],
      tables: PAGES_OF_2M,
    }));
    expect(report.totals).toEqual({ mappings: 512, equal: 512, identical: 512 });
    expect(report.exact).toBe(true);
  });

  it('a table that is made again under the same pointer is another table; one that is at no checkpoint is not replayed', () => {
    const report = replay(handmade({
      events: [
        INIT, map('0x40000000', '0x1000', '0x90000000'),
        's2_destroy_range: (f) pgt=0x10 addr=0x0 size=0x8000000000', 's2_destroy_pgd: (f) pgt=0x10',
        map('0x0', '0x1000', '0x0'), INIT, 'unmap_stage2_range: (f) mmu=0x20 start=0x0 size=0x1000 pgd_phys=0x40000000', MAP_BLOCK, HOLD,
      ],
      tables: BLOCK_OF_2M,
    }));
    expect(report.operations['s2_map']).toEqual({ done: 1, retry: 0, refused: 0, notReplayed: 2 });
    expect(report.totals).toEqual({ mappings: 1, equal: 1, identical: 1 });
  });

  it('a mapping that is there already is EAGAIN, once more and again', () => {
    const again = [map('0x0', '0x200000', '0x80000000', '0x8'), ret('s2_map', -11)];
    const report = replay(handmade({ events: [INIT, MAP_BLOCK, ret('s2_map', 0), ...again, ...again, HOLD], tables: BLOCK_OF_2M }));
    expect(report.operations['s2_map']).toEqual({ done: 1, retry: 2, refused: 0, notReplayed: 0 });
    expect(report.answers).toEqual({ compared: 3, equal: 3, missing: 0 });
    expect(report.exact).toBe(true);
  });

  it('one that lost to another CPU changes nothing', () => {
    const loser = [`8|${map('0x0', '0x1000', '0x90000000')}`, `8|${ret('s2_map', -11)}`];
    const events = [INIT, `7|${MAP_BLOCK}`, ...loser, `7|${ret('s2_map', 0)}`, HOLD];
    const report = replay(handmade({ events, tables: BLOCK_OF_2M }));
    expect(report.operations['s2_map']).toEqual({ done: 1, retry: 1, refused: 0, notReplayed: 0 });
    expect(report.exact).toBe(true);
  });

  it('one that had no pages changes nothing, and one that asks for the impossible is refused by both', () => {
    const events = [
      INIT, map('0x0', '0x1000', '0x80000000'), ret('s2_map', -12), map('0x0', '0x1000', '0x80000000', '0x3c'), ret('s2_map', -22),
      map('0x0', '0x1000', '0x80000000', '0x1f'), ret('s2_map', -22), map('0x8000000000', '0x1000', '0x80000000'), ret('s2_map', -34), HOLD,
    ];
    const report = replay(handmade({ events }));
    expect(report.odd.map(({ outcome, ret: answer, agrees }) => [outcome, answer, agrees])).toEqual([
      ['replay.no-pages', -12, true], ['prot.memory-types', -22, true], ['prot.execute', -22, true], ['range.beyond-ia', -34, true],
    ]);
    expect(report.totals).toEqual({ mappings: 0, equal: 0, identical: 0 });
    expect(report.exact).toBe(true);
  });

  it('access flags that hardware set are told apart, and accepted only where it may set them', () => {
    const events = [INIT, MAP_BLOCK, 's2_test_clear_young: (f) pgt=0x10 addr=0x0 size=0x1000 mkold=0x1', HOLD];
    const hardware = 1n << 21n;
    const [accepted] = replay(handmade({ events, tables: BLOCK_OF_2M, vtcr: STAGE2.VTCR_EL2 + hardware })).checkpoints[0].tables;
    expect(accepted).toMatchObject({ mappings: { equal: 1, identical: 0 }, hardwareAccessed: 1, exact: true });
    const [refused] = replay(handmade({ events, tables: BLOCK_OF_2M })).checkpoints[0].tables;
    expect(refused).toMatchObject({ mappings: { equal: 0 }, hardwareAccessed: 0, exact: false });
  });
});

const LOST = { run: 'x', scenario: 'x', variant: 1, ipaBits: 39, pageSize: 4096, vcpus: 1, traceComplete: false, events: {}, steps: [] };

describe('hostile input ends in words, in bounded time', () => {
  it('torn lines, where they may be, unknown events, unknown tables and absurd numbers are skipped and counted', () => {
    const report = replay(handmade({
      events: [
        INIT, MAP_BLOCK, 's2_map: (f) pgt=0x10 addr=0x0 si', 'kvm_new_event: anything', MAP_BLOCK.replace('pgt=0x10', 'pgt=0x99'),
        map('0xffffffffffffffff', '0x1000', '0x0'), map('0x0', '0xfffffffffffff', '0x0'), ret('s2_unmap', -1),
        's2_annotate: (f) pgt=0x10 addr=0x0 size=0x1000', HOLD, 'garbage',
      ],
      tables: BLOCK_OF_2M,
    }), { torn: 'skip' });
    expect(report.unknownEvents).toEqual({ kvm_new_event: 1 });
    expect(report.operations).toMatchObject({ s2_map: { done: 1, refused: 1, notReplayed: 1 }, s2_annotate: { notReplayed: 1 } });
    expect(report.traces).toMatchObject([{ name: 'end.trace.txt', torn: 3 }]);
    expect(report.totals).toEqual({ mappings: 1, equal: 1, identical: 1 });
  });

  it('a mapping of 256 GiB by pages stops at the limit of table pages', () => {
    const events = [INIT, map('0x1000', '0x3ffffff000', '0x0'), HOLD];
    const report = replay(handmade({ events }), { tableBytes: 2 ** 20 });
    expect(report.odd).toMatchObject([{ operation: 's2_map', outcome: 'pool.exhausted', agrees: false }]);
    expect(report.exact).toBe(false);
    expect(report.checkpoints[0].tables[0]).toMatchObject({ mappings: { kernel: 0 } });
    expect(report.checkpoints[0].tables[0].moreDifferences).toBeGreaterThan(0);
  });

  it('a kernel table that contains itself is a finding', () => {
    const report = replay(handmade({ events: [INIT, HOLD], tables: { [ROOT]: { 0: table(ROOT) } } }));
    expect(report.checkpoints[0].tables[0].findings[0]).toMatch(/contains itself/);
    expect(report.exact).toBe(false);
  });

  it.each<[string, Changes, string]>([
    ['no run.json', { 'run.json': undefined }, 'refused replay.missing-file'],
    ['a run.json that is not JSON', { 'run.json': '{' }, 'refused json.syntax'],
    ['no trace', { 'end.trace.txt': undefined }, 'refused replay.missing-file'],
    ['no registers', { 'c1.regs.json': undefined }, 'refused replay.no-checkpoint'],
    ['registers without stage 2', { 'c1.regs.json': '{"registers":{"TCR_EL1":"0x0"}}' }, 'refused replay.no-table'],
    ['a core that is no core', { 'c1.core': 'no' }, 'refused image.no-base'],
    ['a trace that lost its beginning', { 'steps.json': JSON.stringify(LOST) }, 'refused replay.trace-incomplete'],
  ])('%s', (_, changes, id) => {
    expect(refusal(handmade({ events: [INIT, HOLD], changes }))).toBe(id);
  });

  it('a checkpoint without a core is a sentence, and the replay is not exact', () => {
    const report = replay(handmade({ events: [INIT, HOLD], changes: { 'c1.core': undefined } }));
    expect(report.checkpoints).toEqual([{ name: 'c1', tables: [], problems: ['There is no c1.core(.gz): nothing was compared.'] }]);
    expect(report.exact).toBe(false);
  });
});
