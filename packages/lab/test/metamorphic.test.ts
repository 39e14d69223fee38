import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { armv8 } from '@granule/armv8';
import { bytesSource } from '@granule/memory';
import { describe, expect, it } from 'vitest';
import { causesText, replayCauses, replayOps, type CausesReport, type RunFiles } from '../src/index.js';
import { valueOf } from './support.js';

/** A small recorded run, and what becomes of its report when it is told in another way, or damaged. */
const FOLDER = join(import.meta.dirname, 'data/T-4k-a76');
const LINE = /^\s*(\S.*)-(\d+)\s+\[(\d+)\] (\S+) +(\d+\.\d+): (\w+): (.*)$/u;

interface Line {
  readonly task: string;
  readonly pid: string;
  readonly cpu: string;
  readonly flags: string;
  readonly time: string;
  readonly name: string;
  readonly text: string;
}

interface Place {
  readonly trace: string;
  readonly event: number;
}

interface Steps {
  readonly events: { readonly end: number };
  readonly steps: readonly { readonly n: number; readonly call: string; readonly after?: Place | null; readonly before?: Place | null; readonly events?: readonly number[] }[];
}

const TRACE = gunzipSync(readFileSync(join(FOLDER, 'end.trace.txt.gz'))).toString().trimEnd().split('\n');
const STEPS = JSON.parse(readFileSync(join(FOLDER, 'steps.json'), 'utf8')) as Steps;
const EVENTS = TRACE.flatMap((text, line) => {
  const [, task, pid, cpu, flags, time, name, rest] = LINE.exec(text) ?? [];
  return name === undefined ? [] : [{ line, task, pid, cpu, flags, time, name, text: rest }];
});

type Instead = Readonly<Record<string, string | Uint8Array>>;

function filesOf(instead: Instead): RunFiles {
  return {
    open(name) {
      const plain = name.replace(/\.gz$/u, '');
      const other = instead[plain];
      if (other !== undefined) {
        return name === plain ? bytesSource(typeof other === 'string' ? new TextEncoder().encode(other) : other) : undefined;
      }
      try {
        return bytesSource(readFileSync(join(FOLDER, name)));
      } catch {
        return undefined;
      }
    },
  };
}

const hex = (value: bigint): string => `0x${value.toString(16).padStart(16, '0')}`;
const causes = (instead: Instead): CausesReport => valueOf(replayCauses({ files: filesOf(instead), backends: { armv8 } }));
const ops = (instead: Instead) => valueOf(replayOps({ files: filesOf(instead), backends: { armv8 } }));
const trace = (lines: readonly string[]): Instead => ({ 'end.trace.txt': lines.join('\n') });
const each = (print: (line: Line) => string): Instead => trace(TRACE.map((text, at) => {
  const event = EVENTS.find(({ line }) => line === at);
  return event === undefined ? text : print(event);
}));
const line = ({ task, pid, cpu, flags, time, name, text }: Line): string => `${task.padStart(16)}-${pid.padEnd(7)} [${cpu}] ${flags} ${time.padStart(12)}: ${name}: ${text}`;

/** `steps.json` for a trace whose event number `i` stands at `at(i)` now, of `total`. */
function renumbered(at: (event: number) => number, total: number): string {
  const place = (of: Place | null | undefined) => of && { ...of, ...(of.trace === 'end' ? { event: at(of.event) } : {}) };
  const steps = STEPS.steps.map(({ after, before, events, ...rest }) => {
    const inEnd = (after ?? before)?.trace !== 'close';
    return { ...rest, after: place(after), before: place(before), ...(events && { events: inEnd ? events.map(at) : events }) };
  });
  return JSON.stringify({ ...STEPS, events: { ...STEPS.events, end: total }, steps });
}

const told = ({ calls, totals, differences, contradictions, undetermined, exact }: CausesReport) => ({ calls, totals, differences, contradictions, undetermined, exact });
const UNDAMAGED = causes({});
const without = (event: number): Instead =>
  ({ ...trace(TRACE.filter((_, at) => at !== EVENTS[event].line)), 'steps.json': renumbered((i) => (i > event ? i - 1 : i), EVENTS.length - 1) });

describe('a run told in another way is the same run', () => {
  const others = (every: number): Instead => {
    const lines: string[] = [];
    const places: number[] = [];
    let events = 0;
    TRACE.forEach((text, at) => {
      lines.push(text);
      if (!EVENTS.some((event) => event.line === at)) return;
      places.push(events++);
      if (places.length % every === 0) {
        lines.push('            bash-999     [003] d..2.     1.000000: sched_switch: prev_comm=bash prev_pid=999 ==> next_comm=swapper/3 next_pid=0');
        events++;
      }
    });
    return { ...trace(lines), 'steps.json': renumbered((i) => places[i] ?? i, events) };
  };

  it.each<[string, Instead]>([
    ['at another time', each((event) => line({ ...event, time: (Number(event.time) + 86_400.5).toFixed(6) }))],
    ['in nanoseconds', each((event) => line({ ...event, time: `${event.time}000` }))],
    ['by a task of another name and number', each((event) => line({ ...event, task: 'CPU 0/KVM [1] b', pid: '4194303' }))],
    ['by a task of no known name', each((event) => line({ ...event, task: '<...>' }))],
    ['on another CPU', each((event) => line({ ...event, cpu: '127' }))],
    ['with thread groups', each((event) => line(event).replace(/(-\d+ +)\[/u, '$1(     61) ['))],
    ['by trace-cmd', each(({ task, pid, cpu, time, name, text }) => `${task.padStart(16)}-${pid.padEnd(5)} [${cpu}] ${time.padStart(12)}: ${`${name}:`.padEnd(20)} ${text}`)],
    ['with fields in another order', each((event) => line({ ...event, text: event.text.replace(/^(\(.*\)) (\w+=.*)$/u, (_, at: string, fields: string) => `${at} ${fields.split(' ').reverse().join(' ')}`) }))],
    ['in decimal', each((event) => line({ ...event, text: event.text.replace(/=(0x[0-9a-f]+)/gu, (_, value: string) => `=${BigInt(value)}`) }))],
    ['without a heading', trace(TRACE.filter((text) => !text.startsWith('#')))],
    ['with the ends of lines of Windows', { 'end.trace.txt': TRACE.join('\r\n') }],
    ['among events of other processes', others(2)],
    ['with its steps on one line', { 'steps.json': JSON.stringify(STEPS) }],
  ])('%s', (_, instead) => {
    expect(told(causes(instead))).toEqual(told(UNDAMAGED));
    expect(ops(instead).exact).toBe(true);
  });
});

describe('no damage leaves a report that says all is equal and nothing is missing', () => {
  const last = EVENTS.findLastIndex(({ text }) => text.startsWith('hold '));
  const qualified = ({ exact, contradictions, undetermined }: CausesReport): boolean => !exact || contradictions.length > 0 || undetermined.length > UNDAMAGED.undetermined.length;
  /** What leads to nothing, or says what other events say too: its loss alone loses nothing. */
  const IDLE = /^kvm_(?:exit|userspace_exit|unmap_hva_range)$/u;
  const firsts = EVENTS.flatMap(({ name, text }, i) => (i <= last && !IDLE.test(name) && EVENTS.findIndex((one) => one.name === name) === i ? [[name, text, i] as const] : []));

  it.each(firsts.filter(([name, text]) => text !== 'T' && name !== 's2_init'))('an event %s is gone: %s', (_, __, event) => {
    expect(qualified(causes(without(event)))).toBe(true);
  });

  it('an event is gone that leads to nothing: steps.json counts it', () => {
    const instead = trace(TRACE.filter((_, at) => at !== EVENTS[5].line));
    const sentence = `steps.json counts ${EVENTS.length} events in end.trace.txt, and there are ${EVENTS.length - 1}: the places of steps among them are not certain.`;
    expect(causes(instead)).toMatchObject({ exact: false, contradictions: [sentence] });
    expect(ops(instead)).toMatchObject({ exact: false, contradictions: [sentence] });
  });

  it('the mark of a checkpoint is gone', () => {
    const instead = without(last);
    for (const report of [causes(instead), ops(instead)]) {
      expect(report).toMatchObject({ exact: false, contradictions: ['steps.json has a checkpoint c2, and no trace a mark "hold c2": nothing was compared there.'] });
    }
    expect(causesText(causes(instead))).toContain('  ! steps.json has a checkpoint c2');
  });

  it('a return is gone', () => {
    const event = EVENTS.findIndex(({ name }) => name === 's2_map_ret');
    expect(causes(without(event)).undetermined).toEqual([{ what: 'events of s2_map_ret', count: 1, reason: expect.any(String) as string }]);
    expect(ops(without(event)).answers.missing).toBe(1);
  });

  it('a step is gone: it is named by its number', () => {
    const gone = STEPS.steps.findIndex(({ call }) => call === 'madvise');
    const steps = { ...STEPS, steps: STEPS.steps.filter((_, i) => i !== gone) };
    expect(causes({ 'steps.json': JSON.stringify(steps) })).toMatchObject({ exact: false, contradictions: [expect.stringMatching(new RegExp(`before step ${gone + 1}:`, 'u'))] });
  });

  it('a cache operation comes after its mapping has returned', () => {
    const at = EVENTS.findIndex(({ name }, i) => name === 'dcache_clean_inval_poc' && EVENTS[i + 1].name === 's2_map_ret');
    const lines = [...TRACE];
    [lines[EVENTS[at].line], lines[EVENTS[at + 1].line]] = [lines[EVENTS[at + 1].line], lines[EVENTS[at].line]];
    expect(causes(trace(lines)).differences[0]).toMatchObject({ what: 'missing', operation: 'dcache_clean_inval_poc' });
  });
});

describe('every argument of every function', () => {
  const CHANGED = EVENTS.flatMap(({ name, text, line: at }, i) => {
    const known = /^(?:s2_|flush_|unmap_stage2_range|dcache_|icache_|clean_|invalidate_)/u.test(name) && EVENTS.findIndex((one) => one.name === name) === i;
    return known ? Array.from(text.matchAll(/(\w+)=(0x[0-9a-f]+|\d+)/gu), ([whole, field, value]) => [name, field, at, whole, value] as const) : [];
  });

  it.each(CHANGED.filter(([, field]) => field !== 'flags'))('%s %s: a change of it shows', (_, field, at, whole, value) => {
    const other = field === 'block' ? '0' : field === 'level' ? '2' : field === 'ret' ? '-11' : `0x${(BigInt(value) ^ 0x1000n).toString(16)}`;
    const lines = TRACE.map((text, i) => (i === at ? text.replace(` ${whole}`, ` ${field}=${other}`) : text));
    expect(lines[at]).not.toBe(TRACE[at]);
    const outcome = replayCauses({ files: filesOf(trace(lines)), backends: { armv8 } });
    expect(outcome.kind === 'done' && outcome.value.exact, outcome.kind === 'done' ? causesText(outcome.value) : outcome.sentence).toBe(false);
  });
});

describe('one descriptor of the last image', () => {
  const core = gunzipSync(readFileSync(join(FOLDER, 'c2.core.gz')));
  const { registers } = JSON.parse(readFileSync(join(FOLDER, 'c2.regs.json'), 'utf8')) as { registers: Record<string, string> };

  /** Offset in the file of a physical address: ELF64 program headers. */
  function offsetOf(pa: bigint): number {
    const table = Number(core.readBigUInt64LE(0x20));
    for (let i = 0; i < core.readUInt16LE(0x38); i++) {
      const [offset, start, bytes] = [8, 24, 32].map((field) => core.readBigUInt64LE(table + i * 56 + field));
      if (start <= pa && pa < start + bytes) return Number(offset + (pa - start));
    }
    throw new RangeError('not in the image');
  }

  it('loses its write permission: exactly that mapping is told, with both descriptors', () => {
    const ipa = 0x8009_f000n;
    // 40 bits from level 1 with 4K pages, two concatenated tables: ten bits, nine, nine.
    const steps = [[30n, 0x3ffn], [21n, 0x1ffn], [12n, 0x1ffn]];
    let at = 0;
    let word = BigInt(registers['VTTBR_EL2']);
    for (const [shift, mask] of steps) {
      at = offsetOf((word & 0xffff_ffff_f000n) + ((ipa >> shift) & mask) * 8n);
      word = core.readBigUInt64LE(at);
    }
    const damaged = Buffer.from(core);
    damaged.writeBigUInt64LE(word ^ 0x80n, at);
    for (const report of [causes({ 'c2.core': damaged }), ops({ 'c2.core': damaged })]) {
      expect(report.exact).toBe(false);
      const found = report.checkpoints.flatMap(({ name, tables }) => tables.flatMap(({ differences }) => differences.map(({ address, ours, kernel }) => [name, address, ours?.descriptor, kernel?.descriptor].join(' '))));
      expect(found).toEqual([`c2 ${hex(ipa)} ${hex(word)} ${hex(word ^ 0x80n)}`]);
    }
  });
});
