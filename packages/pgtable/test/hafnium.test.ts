import type { AttributeRequest, MappedRange, Outcome, Prepared } from '@granule/contract';
import { ENTRY } from '@granule/contract';
import { afterAll, describe, expect, it } from 'vitest';
import { lenientRange } from '../src/index.js';
import { type Case, END, HAFNIUM_CASES, type Leaves, type Mode, PAGE, type Result, type Step } from './hafnium-cases.js';
import { type Bench, answer, at, bench, stage2 } from './support.js';

const ATTRIBUTES: Readonly<Record<Mode, AttributeRequest>> = {
  '0': { read: false, write: false },
  R: { read: true, write: false },
  W: { read: false, write: true },
  X: { read: false, write: false, px: true, ux: true },
};

const text = (address: number): string => `0x${address.toString(16)}`;

/** Runs the steps of one case on a fresh table, its ranges lenient as Hafnium's are. */
class Runner {
  private readonly bench: Bench = bench({ geometry: stage2('4K', 41, 1), pages: 600, recorded: false });
  private prepared: Prepared[] = [];

  run(steps: readonly Step[]): Required<Result> {
    const answers = steps.map((step) => this.step(step));
    return { answers, leaves: this.leaves(), tables: this.bench.memory.taken - 4 };
  }

  private step(step: Step): string {
    const { table } = this.bench;
    switch (step.do) {
      case 'map':
        return this.within(step, (ia, size) => table.map(ia, size, step.pa, ATTRIBUTES[step.mode]));
      case 'prepare':
        return this.within(step, (ia, size) => {
          const outcome = table.prepareMap(ia, size, step.pa, ATTRIBUTES[step.mode]);
          this.prepared.push(...(outcome.kind === 'done' ? [outcome.value] : []));
          return outcome;
        });
      case 'commit':
        return this.prepared.splice(0).every((each) => each.commit().kind === 'done') ? 'ok' : 'fails';
      case 'unmap':
        return this.within(step, (ia, size) => table.unmap(ia, size));
      case 'annotate':
        return this.within(step, (ia, size) => table.annotate(ia, size, 2, step.note));
      case 'merge':
        return this.within({ begin: 0, end: END }, (ia, size) => table.merge(ia, size));
      case 'is-mapped':
        return at(table, step.ia).kind === ENTRY.leaf ? 'yes' : 'no';
      case 'mode':
        return this.modeOf(step.begin, step.end);
      case 'first-mode': {
        const [first, ...rest] = table.query(step.begin, step.end - step.begin);
        const change = rest.find((each) => this.mode(each) !== this.mode(first));
        return `${this.mode(first)} to ${text(change?.start ?? step.end)}`;
      }
      case 'outputs':
        return this.outputs(step.begin, step.end, step.mode)
          .map(({ ia, pa, size }) => `${text(pa)} + ${text(size)} to ${text(ia + size)}`)
          .join(', ');
    }
  }

  private within(
    { begin, end }: { readonly begin: number; readonly end: number },
    work: (ia: number, size: number) => Outcome<unknown>,
  ): string {
    const range = lenientRange(this.bench.format, begin, end);
    return range === undefined || work(range.ia, range.size).kind === 'done' ? 'ok' : 'fails';
  }

  private mode({ lo, hi, level }: MappedRange): Mode {
    const a = this.bench.format.decodeLeaf(lo, hi, level);
    return a.read ? 'R' : a.write ? 'W' : a.px ? 'X' : '0';
  }

  private modeOf(begin: number, end: number): string {
    if (end > END) {
      expect(this.bench.table.query(begin, end - begin)).toEqual([]);
      return 'beyond';
    }
    const found = this.bench.table.query(begin, end - begin);
    const covered = found.reduce((sum, each) => sum + Math.min(each.end, end) - Math.max(each.start, begin), 0);
    const modes = [...new Set(found.map((each) => this.mode(each)))];
    return found.length === 0 ? 'absent' : covered === end - begin && modes.length === 1 ? modes[0] : 'mixed';
  }

  private outputs(begin: number, end: number, mode: Mode): { ia: number; pa: number; size: number }[] {
    const ranges: { ia: number; pa: number; size: number }[] = [];
    for (const each of this.bench.table.query(begin, end - begin).filter((found) => this.mode(found) === mode)) {
      const last = ranges.at(-1);
      if (last !== undefined && last.ia + last.size === each.start && last.pa + last.size === each.output) {
        last.size += each.end - each.start;
      } else {
        ranges.push({ ia: each.start, pa: each.output, size: each.end - each.start });
      }
    }
    return ranges;
  }

  private leaves(): Leaves[] {
    const runs: { ia: number; level: Leaves['level']; count: number; pa: number; mode: Mode }[] = [];
    for (const each of this.bench.table.query(0, END)) {
      const last = runs.at(-1);
      const span = each.end - each.start;
      const mode = this.mode(each);
      const follows = last?.level === each.level && last.mode === mode && last.ia + last.count * span === each.start;
      if (last !== undefined && follows && last.pa + last.count * span === each.output) {
        last.count++;
      } else {
        runs.push({ ia: each.start, level: each.level as Leaves['level'], count: 1, pa: each.output, mode });
      }
    }
    return runs;
  }
}

const complete = ({ steps }: Case, { answers, leaves, tables }: Result): Required<Result> => ({
  answers: answers ?? steps.map(() => 'ok'),
  leaves,
  tables,
});

describe("Hafnium's cases", () => {
  let equal = 0;
  let different = 0;

  for (const row of HAFNIUM_CASES) {
    const { name, steps, different: ours } = row;
    it(`${name}${ours === undefined ? '' : `: different on purpose. ${ours.reason}`}`, () => {
      const result = new Runner().run(steps);
      if (ours === undefined) {
        expect(result).toEqual(complete(row, row));
        equal++;
      } else {
        expect(result).toEqual(complete(row, ours.ours));
        expect(result).not.toEqual(complete(row, row));
        different++;
      }
    });
  }

  it('are 63, of which at most 10 differ', () => {
    expect(HAFNIUM_CASES).toHaveLength(63);
    expect(new Set(HAFNIUM_CASES.map(({ name }) => name)).size).toBe(63);
    expect(HAFNIUM_CASES.filter((row) => row.different !== undefined).length).toBeLessThanOrEqual(10);
  });

  afterAll(() => {
    console.log(`Hafnium's cases: ${equal} equal, ${different} different on purpose`);
  });
});

describe('without lenience', () => {
  const { table } = bench({ geometry: stage2('4K', 41, 1) });
  it.each([
    ['a reversed range', 20, -10, 'refused range.not-integer'],
    ['a range that ends beyond the input size', 0, END + PAGE, 'refused range.beyond-ia'],
    ['a range beyond the input size', END, PAGE, 'refused range.beyond-ia'],
    ['the whole 64-bit space', 0, 2 ** 64, 'refused range.not-integer'],
  ])('%s is refused', (_, ia, size, expected) => {
    expect(answer(table.map(ia, size, 0, {}))).toBe(expected);
    expect(answer(table.unmap(ia, size))).toBe(expected);
  });
});
