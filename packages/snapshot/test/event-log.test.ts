import { readFileSync } from 'node:fs';
import type { Effect } from '@granule/contract';
import { recorder, sameEffects } from '@granule/conformance';
import { bytesSource } from '@granule/memory';
import { describe, expect, it } from 'vitest';
import { EVENTS_SCHEMA_NAME, eventLogWriter, readEventLog } from '../src/index.js';
import { EFFECT_FIELDS } from '../src/event-log-fields.js';

const HEADER = `{"schema":"${EVENTS_SCHEMA_NAME}"}`;

/** One of each event, every optional field in use somewhere. */
const EFFECTS: readonly Effect[] = [
  { type: 'take', table: 0x4000_0000, pages: 2 },
  {
    type: 'context-installed',
    regime: 'el10',
    root: 0x4000_0000,
    vmid: 7,
    asid: 3,
    pe: 1,
    format: {
      backend: 'armv8',
      granule: '4K',
      iaBits: 48,
      oaBits: 52,
      startLevel: -1,
      ds: true,
      mair: 0xff44_0c04_00ffn,
      features: { bbm: 2, ttl: true },
    },
  },
  {
    type: 'write',
    table: 0x4000_1000,
    level: 3,
    index: 510,
    count: 2,
    address: 2 ** 52 - 8192,
    old: new Uint32Array([0xffff_ffff, 0xffff_ffff, 3, 0x0010_0000]),
    new: new Uint32Array(4),
    release: false,
    before: [{ type: 'cmo', op: 'dc-civac', to: 'poc', address: 2 ** 51, bytes: 4096 }],
    after: [
      { type: 'dsb', domain: 'ishst' },
      { type: 'tlbi', op: 'VALE2IS', address: 4096, level: 3 },
      { type: 'dsb', domain: 'ish' },
      { type: 'isb' },
    ],
    pe: 2,
  },
  { type: 'tlbi', op: 'RIPAS2E1IS', address: 0, bytes: 2 ** 33, vmid: 7, asid: 1, regime: 'el10', pe: 3 },
  { type: 'register', name: 'VTTBR_EL2', value: 2n ** 64n - 1n },
  {
    type: 'access',
    access: 'read',
    address: 8,
    output: 16,
    bytes: 8,
    value: 1n,
    regime: 'el10',
    ipa: 24,
    vmid: 7,
    asid: 3,
    mismatch: { rule: 'data.stale-read', cause: 4, expected: 2n },
    pe: 0,
  },
  {
    type: 'fault',
    fault: { type: 'translation', level: 2, stage: 2, s1ptw: true, access: 'fetch', address: 4, upper: false, ipa: 8 },
    vmid: 7,
  },
  { type: 'context-retired', regime: 'el10', root: 0x4000_0000 },
  { type: 'free', table: 0x4000_0000, pages: 2, deferred: true },
  { type: 'dsb', domain: 'sy' },
  { type: 'isb', pe: 4 },
  { type: 'cmo', op: 'ic-ivau', to: 'pou', address: 64, bytes: 64 },
];

function written(effects: readonly Effect[]): string {
  const lines: string[] = [];
  const sink = eventLogWriter((line) => lines.push(line));
  effects.forEach((each) => sink.effect(each));
  return `${lines.join('\n')}\n`;
}

function read(source: Parameters<typeof readEventLog>[0]) {
  const kept = recorder();
  const position = { line: 0 };
  const outcome = readEventLog(source, kept, position);
  return { outcome, position, effects: kept.effects };
}

describe('an event log', () => {
  it('holds every event as it was', () => {
    const { outcome, effects } = read(written(EFFECTS));
    expect(outcome).toEqual({ kind: 'done', value: EFFECTS.length });
    expect(effects).toEqual(EFFECTS);
    expect(new Set(EFFECTS.map((each) => each.type)).size).toBe(Object.keys(EFFECT_FIELDS).length);
  });

  it('event n is line n + 1', () => {
    expect(written(EFFECTS).split('\n')[0]).toBe(HEADER);
    expect(written(EFFECTS).split('\n')).toHaveLength(EFFECTS.length + 2);
  });

  it('is read in pieces, whatever its lines', () => {
    const long = EFFECTS.map(
      (each): Effect =>
        each.type === 'write'
          ? { ...each, count: 8192, index: 0, new: new Uint32Array(16384).fill(0x1234_5678), old: new Uint32Array(16384).fill(0xffff_ffff) }
          : each,
    );
    const many = [...Array.from({ length: 300 }, () => EFFECTS).flat(), ...long, ...EFFECTS, ...long];
    const { outcome, effects } = read(bytesSource(new TextEncoder().encode(written(many))));
    expect(outcome).toEqual({ kind: 'done', value: many.length });
    expect(effects.length === many.length && effects.every((each, i) => sameEffects([each], [many[i]]))).toBe(true);
  });

  it('is read without a newline at its end', () => {
    expect(read(bytesSource(new TextEncoder().encode(written(EFFECTS).trimEnd()))).effects).toEqual(EFFECTS);
  });
});

const WRITE = '{"type":"write","table":"0x0","level":3,"index":0,"count":1,"address":"0x0","release":false';

describe('what cannot be read is refused with its line', () => {
  const cases: readonly (readonly [string, string, string, number])[] = [
    ['', 'events.schema', `The first line is not ${HEADER}.`, 1],
    ['{"schema":"granule-events/2"}', 'events.schema', `The first line is not ${HEADER}.`, 1],
    [`${HEADER}\n{"type":"isb"}\n{"type":"is`, 'events.syntax', 'The line is not a JSON object.', 3],
    [`${HEADER}\n\n`, 'events.syntax', 'The line is not a JSON object.', 2],
    [`${HEADER}\n7`, 'events.syntax', 'The line is not a JSON object.', 2],
    [`${HEADER}\n[]`, 'events.field', `type is not one of ${Object.keys(EFFECT_FIELDS).join(', ')}.`, 2],
    [`${HEADER}\n{"type":"toString"}`, 'events.field', `type is not one of ${Object.keys(EFFECT_FIELDS).join(', ')}.`, 2],
    [
      `${HEADER}\n{"type":"dsb","domain":"inner"}`,
      'events.field',
      'dsb.domain is not one of ish, ishst, nsh, nshst, osh, oshst, sy, st.',
      2,
    ],
    [`${HEADER}\n{"type":"dsb"}`, 'events.field', 'dsb.domain is missing.', 2],
    [`${HEADER}\n{"type":"isb","cpu":1}`, 'events.field', 'isb.cpu is not a known field.', 2],
    [`${HEADER}\n{"type":"take","table":"0x20000000000000","pages":1}`, 'events.field', 'take.table is larger than 2^52.', 2],
    [`${HEADER}\n{"type":"take","table":4096,"pages":1}`, 'events.field', 'take.table is not an address written as 0x….', 2],
    [`${HEADER}\n{"type":"take","table":"0x1000","pages":1.5}`, 'events.field', 'take.pages is not an integer from 1 to 16.', 2],
    [
      `${HEADER}\n{"type":"write","table":"0x0","level":3,"index":0,"count":2,"address":"0x0","new":["0x3"],"release":false}`,
      'events.field',
      'write.new has 1 descriptors and count is 2.',
      2,
    ],
    [
      `${HEADER}\n{"type":"write","table":"0x0","level":3,"index":0,"count":1,"address":"0x0","new":["3"],"release":false}`,
      'events.field',
      'write.new[0] is not a 64-bit value written as 0x….',
      2,
    ],
    [
      `${HEADER}\n${WRITE},"after":[{"type":"isb"},{"type":"dsb","domain":1}]}`,
      'events.field',
      'write.after[1].domain is not one of ish, ishst, nsh, nshst, osh, oshst, sy, st.',
      2,
    ],
  ];
  it.each(cases)('%j: %s', (log, id, sentence, line) => {
    const { outcome, position } = read(log);
    expect(outcome).toMatchObject({ kind: 'refused', id, sentence });
    expect(position.line).toBe(line);
  });

  it('a line without end', () => {
    const { outcome } = read(bytesSource(new TextEncoder().encode(`${HEADER}\n${' '.repeat(2 ** 24)}`)));
    expect(outcome).toMatchObject({ kind: 'refused', id: 'events.line-too-long' });
  });
});

describe('docs/events.md', () => {
  const page = readFileSync(new URL('../../../docs/events.md', import.meta.url), 'utf8');
  const lines = [...page.matchAll(/^```json\n([\s\S]*?)^```/gmu)].flatMap((block) => block[1].trimEnd().split('\n'));

  it('has an example line for each event, which can be read', () => {
    const { outcome, effects } = read(lines.join('\n'));
    expect(outcome).toMatchObject({ kind: 'done' });
    expect(new Set(effects.map((each) => each.type))).toEqual(new Set(Object.keys(EFFECT_FIELDS)));
  });

  it('names every field of every event', () => {
    const sections = page.split(/\n(?=## )/u).slice(1);
    for (const [type, fields] of Object.entries(EFFECT_FIELDS)) {
      const section = sections.find((each) => each.slice(0, each.indexOf('\n')).includes(`\`${type}\``)) ?? '';
      const names = fields.map(({ name }) => name).filter((name) => name !== 'type' && name !== 'pe');
      expect(section, type).not.toBe('');
      expect(
        names.filter((name) => !section.includes(`\`${name}\``)),
        type,
      ).toEqual([]);
    }
  });
});
