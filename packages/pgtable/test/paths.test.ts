import { armv8 } from '@granule/armv8';
import { type Command, commandSequences, commandText, fake } from '@granule/conformance';
import type { Effect, Outcome } from '@granule/contract';
import { ENTRY } from '@granule/contract';
import { type Level, entrySpan } from '@granule/geometry';
import { hex, toBigint } from '@granule/geometry/bits';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Bench, bench, expanded, stage2 } from './support.js';

/** Every non-zero entry and every table page of a table, read one entry at a time: what a line shows holds at every address of an arena. */
function contents({ format, memory, table }: Bench): readonly string[] {
  const lines: string[] = [];
  const { startLevel, rootEntries, stride, granule } = format.geometry;
  const visit = (pa: number, entries: number, level: Level, start: number): void => {
    const word = memory.wordOf(pa, 8 * entries);
    const count = memory.counts[Math.floor(word / 2 ** (memory.pageShift - 2))];
    let nonZero = 0;
    for (let i = 0; i < entries; i++) {
      const lo = memory.words[word + 2 * i];
      const hi = memory.words[word + 2 * i + 1];
      const address = start + i * entrySpan(granule, level);
      if (format.kind(lo, hi, level) === ENTRY.table) {
        nonZero++;
        visit(format.tableOutput(lo, hi), 2 ** stride, (level + 1) as Level, address);
      } else if ((lo | hi) !== 0) {
        nonZero++;
        lines.push(`${hex(address)} level ${level} ${hex(toBigint(lo, hi))}`);
      }
    }
    lines.push(`table of level ${level} at ${hex(start)}: ${nonZero}, counted ${count}`);
  };
  const perPage = Math.min(rootEntries, 2 ** stride);
  for (let i = 0; i < rootEntries; i += perPage) {
    visit(table.root + 8 * i, perPage, startLevel, i * entrySpan(granule, startLevel));
  }
  return lines;
}

/** The command as Linux would do it; those that have no linux mode as they are. */
function performLinux({ table }: Bench, command: Command): Outcome<unknown> {
  switch (command.op) {
    case 'map': {
      const { over, ...options } = command.options ?? {};
      const shared = over === 'replace' ? false : undefined;
      return table.map(command.ia, command.size, command.output, command.attributes, {
        ...options,
        mode: 'linux',
        ...(shared === undefined ? {} : { shared }),
      });
    }
    case 'unmap':
      return table.unmap(command.ia, command.size, { ...command.options, mode: 'linux' });
    case 'split':
      return table.split(command.ia, command.size, { mode: 'linux', budget: 4 });
    case 'write-protect':
      return table.writeProtect(command.ia, command.size);
    case 'age':
      return table.age(command.ia, command.size, command.clear);
    case 'make-young':
      return table.makeYoung(command.ia);
    case 'relax':
      return table.relaxPermissions(command.ia, command.add);
    case 'merge':
      return table.merge(command.ia, command.size);
    case 'annotate':
      return table.annotate(command.ia, command.size, command.type, command.value);
    case 'flush':
    case 'query':
    case 'lookup':
      return table.flush(command.ia, 1);
  }
}

/** A memory that knows nothing but the effects. */
class Replayed {
  private readonly words = new Map<number, bigint>();

  apply(effects: readonly Effect[], { format }: Bench): void {
    for (const effect of expanded(effects, format)) {
      if (effect.type === 'write') {
        const pa = effect.table + 8 * effect.index;
        expect(this.words.get(pa) ?? 0n, 'old').toBe(toBigint(effect.old[0], effect.old[1]));
        this.words.set(pa, toBigint(effect.new[0], effect.new[1]));
      } else if (effect.type === 'free') {
        const bytes = effect.pages * 2 ** format.geometry.pageShift;
        [...this.words.keys()].filter((pa) => pa >= effect.table && pa < effect.table + bytes).forEach((pa) => this.words.delete(pa));
      }
    }
  }

  /** The words of every page of the arena. */
  compare({ memory }: Bench): void {
    const base = memory.firstPage * 2 ** memory.pageShift;
    const there = new Map<number, bigint>();
    memory.words.forEach((_, i) => {
      if (i % 2 === 0 && (memory.words[i] | memory.words[i + 1]) !== 0) {
        there.set(base + 4 * i, toBigint(memory.words[i], memory.words[i + 1]));
      }
    });
    expect([...this.words].filter(([, word]) => word !== 0n).sort(([a], [b]) => a - b)).toEqual([...there]);
  }
}

const CASES = [armv8, fake].flatMap((backend) =>
  (
    [
      ['4K', 40, 1, 14],
      ['16K', 40, 2, 9],
      ['64K', 42, 2, 6],
    ] as const
  ).map(([granule, ipaBits, startLevel, pages]) => ({
    backend,
    granule,
    geometry: stage2(granule, ipaBits, startLevel),
    pages,
  })),
);

/** Prepared maps are exact. */
const inLinux = (command: Command): boolean => !(command.op === 'map' && command.prepared !== undefined);

describe.each(CASES)('in linux mode, $backend.name $granule', ({ backend, geometry, pages }) => {
  const options = { backend, geometry, pages: pages + geometry.entryTables };

  it('tables with and without a listener come to the same contents, counts and answers, and the effects replayed are the memory', () => {
    const sequences = commandSequences(bench(options).format, 12);
    fc.assert(
      fc.property(sequences, (commands) => {
        const heard = bench(options);
        const unheard = bench({ ...options, recorded: false });
        const replayed = new Replayed();
        for (const command of commands.filter(inLinux)) {
          const [a, b] = [performLinux(heard, command), performLinux(unheard, command)];
          expect(a, commandText(command)).toEqual(b);
          expect(contents(heard), commandText(command)).toEqual(contents(unheard));
          expect(heard.memory.taken).toBe(unheard.memory.taken);
          replayed.apply(heard.log.drain(), heard);
        }
        replayed.compare(heard);
        expect(
          contents(heard)
            .filter((line) => line.startsWith('table'))
            .every((line) => /: (\d+), counted \1$/.test(line)),
        ).toBe(true);
      }),
      { numRuns: 12 },
    );
  });
});
