import { armv8 } from '@granule/armv8';
import type { Outcome } from '@granule/contract';
import { bytesSource } from '@granule/memory';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { causesText, replayCauses, replayOps, replayText } from '../src/index.js';
import { Program } from './emitted/program.js';

/** A small run, all of it: trace, steps, slots, registers, tables. */
const RUN = new Program({
  seed: 3, kernel: '7.2', granule: '4K', ipaBits: 36, paBits: 48, fwb: false, dic: false, ha: false, range: false, cpus: 2, vcpus: 2, vhe: true, splitChunk: true, manualLog: 3,
}).run(12).files();
const NAMES = [...RUN.keys()].sort();
const bytesOf = (name: string): Uint8Array => {
  const content = RUN.get(name)!;
  return typeof content === 'string' ? new TextEncoder().encode(content) : content;
};

/** One way to damage a file: cut it off, leave bytes or lines out, swap lines, put other bytes or numbers in. */
type Damage = readonly [kind: 'cut' | 'drop' | 'swap' | 'overwrite' | 'number' | 'garbage', at: number, much: number];
const damage: fc.Arbitrary<Damage> = fc.tuple(fc.constantFrom('cut', 'drop', 'swap', 'overwrite', 'number', 'garbage'), fc.nat(), fc.nat());

function damaged(bytes: Uint8Array, [kind, at, much]: Damage): Uint8Array {
  const lines = (): string[] => new TextDecoder().decode(bytes).split('\n');
  const text = (changed: readonly string[]): Uint8Array => new TextEncoder().encode(changed.join('\n'));
  switch (kind) {
    case 'cut':
      return bytes.slice(0, at % bytes.length);
    case 'drop': {
      const kept = lines();
      kept.splice(at % kept.length, 1 + (much % 20));
      return text(kept);
    }
    case 'swap': {
      const swapped = lines();
      const [a, b] = [at % swapped.length, much % swapped.length];
      [swapped[a], swapped[b]] = [swapped[b], swapped[a]];
      return text(swapped);
    }
    case 'overwrite':
      return bytes.map((byte, i) => (Math.abs(i - (at % bytes.length)) < 1 + (much % 8) ? (byte * 31 + much) % 256 : byte));
    case 'number': {
      const whole = new TextDecoder().decode(bytes);
      const places = [...whole.matchAll(/0x[0-9a-f]+|\b\d+\b/gu)];
      if (places.length === 0) return bytes;
      const place = places[at % places.length];
      const value = ['0x0', '0x1', '0xfffffffffffff000', '0x7ffffffff000', '-1', '4096', '99999999999999999999'][much % 7];
      return new TextEncoder().encode(whole.slice(0, place.index) + value + whole.slice(place.index + place[0].length));
    }
    case 'garbage':
      return Uint8Array.from({ length: much % 4000 }, (_, i) => (at * (i + 1) * 7919) % 256);
  }
}

/** It ends with a report that can be printed, or with one sentence. */
function ends<T>(outcome: Outcome<T>, text: (report: T) => string): void {
  if (outcome.kind === 'done') {
    expect(text(outcome.value)).toMatch(/[\d,]+ of [\d,]+ mappings equal\n$/u);
  } else {
    expect(outcome.sentence).toMatch(/^[^\n]+\.$/u);
    expect(outcome.id).toMatch(/^[a-z0-9-]+\.[a-z0-9-]+$/u);
  }
}

describe('a damaged run directory', () => {
  it('undamaged is replayed exactly', () => {
    const files = { open: (name: string) => (RUN.has(name) ? bytesSource(bytesOf(name)) : undefined) };
    const outcome = replayCauses({ files, backends: { armv8 } });
    expect(outcome).toMatchObject({ kind: 'done', value: { exact: true } });
  });

  it('ends in a report or in one sentence, whatever was done to a file of it', () => {
    let exact = 0;
    fc.assert(
      fc.property(fc.constantFrom(...NAMES), fc.array(damage, { minLength: 1, maxLength: 3 }), (target, damages) => {
        const changed = damages.reduce((bytes, each) => (bytes.length === 0 ? bytes : damaged(bytes, each)), bytesOf(target));
        const files = { open: (name: string) => (RUN.has(name) ? bytesSource(name === target ? changed : bytesOf(name)) : undefined) };
        const options = { files, backends: { armv8 }, tableBytes: 2 ** 22 };
        const causes = replayCauses(options);
        ends(causes, causesText);
        ends(replayOps(options), replayText);
        exact += causes.kind === 'done' && causes.value.exact ? 1 : 0;
      }),
      { numRuns: 60, seed: 20_261_126 },
    );
    // Most damage is seen; what is not read (comments, names, times) changes nothing.
    expect(exact).toBeLessThan(30);
  }, 30_000);

  it('whose trace has an event torn in the middle is refused by file, line and field; or, if asked, the rest is replayed', () => {
    const name = NAMES.find((each) => each.startsWith('end.trace'))!;
    const lines = new TextDecoder().decode(bytesOf(name)).split('\n');
    const at = lines.findIndex((line) => line.includes(': s2_map: '));
    const torn = lines.map((line, i) => (i === at ? line.slice(0, line.indexOf('addr=')) : line)).join('\n');
    const files = { open: (each: string) => (RUN.has(each) ? bytesSource(each === name ? new TextEncoder().encode(torn) : bytesOf(each)) : undefined) };
    const place = `${name.replace(/\.gz$/u, '')}:${at + 1}`;
    const what = 'field addr of s2_map is missing or cut off';
    for (const replay of [replayCauses, replayOps]) {
      expect(replay({ files, backends: { armv8 } })).toMatchObject({ kind: 'refused', id: 'trace.torn', sentence: `${place}: ${what}.` });
    }
    const causes = replayCauses({ files, backends: { armv8 }, torn: 'skip' });
    expect(causes.kind === 'done' && causesText(causes.value)).toContain(`torn lines (1): ${place}: ${what};`);
    const ops = replayOps({ files, backends: { armv8 }, torn: 'skip' });
    expect(ops.kind === 'done' && replayText(ops.value)).toContain(`1 torn (line ${at + 1}: ${what})`);
  });

  it.each([
    ['an event that ends within its beginning', (line: string) => line.slice(0, line.indexOf(']')), { id: 'trace.torn' }],
    ['a line that is no event', () => ' => kvm_handle_guest_abort', { kind: 'done' }],
  ])('with %s', (_, change, outcome) => {
    const name = NAMES.find((each) => each.startsWith('end.trace'))!;
    const lines = new TextDecoder().decode(bytesOf(name)).split('\n');
    const at = lines.findIndex((line) => line.includes(': kvm_exit: '));
    const text = lines.map((line, i) => (i === at ? change(line) : line)).join('\n');
    const files = { open: (each: string) => (RUN.has(each) ? bytesSource(each === name ? new TextEncoder().encode(text) : bytesOf(each)) : undefined) };
    expect(replayOps({ files, backends: { armv8 } })).toMatchObject(outcome);
  });

  it('whose trace ends within its last line is replayed, and the line is told', () => {
    const name = NAMES.find((each) => each.startsWith('end.trace'))!;
    const text = new TextDecoder().decode(bytesOf(name));
    const cut = text + text.trimEnd().split('\n').at(-1)!.split(']')[0];
    const files = { open: (each: string) => (RUN.has(each) ? bytesSource(each === name ? new TextEncoder().encode(cut) : bytesOf(each)) : undefined) };
    expect(replayOps({ files, backends: { armv8 } })).toMatchObject({ kind: 'done', value: { traces: [{ torn: 1 }] } });
  });

  it.each(NAMES)('without %s ends in a report or in one sentence', (missing) => {
    const files = { open: (name: string) => (RUN.has(name) && name !== missing ? bytesSource(bytesOf(name)) : undefined) };
    ends(replayCauses({ files, backends: { armv8 } }), causesText);
    ends(replayOps({ files, backends: { armv8 } }), replayText);
  });
});
