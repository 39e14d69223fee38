import { durationText } from '../../cost/duration.js';
import { sizeText } from '../../dump/summary.js';
import type { Counts, TlbiCount } from '../counts.js';
import type { PhaseReport, RunReport, VariantReport } from '../report.js';
import { costText } from '../sentences.js';
import { logBars } from './log-bars.js';
import { columns, lines } from './phases.js';
import { legend, SERIES } from './svg.js';

/** What the colours of the plot of invalidations stand for. */
const TLBI_KINDS: readonly (readonly [name: string, matches: (tlbi: TlbiCount) => boolean])[] = [
  ['by IPA, for a leaf', ({ scope, reason }) => scope === 'ipa' && reason !== 'table'],
  ['by IPA, for a table', ({ scope, reason }) => scope === 'ipa' && reason === 'table'],
  ['by range', ({ scope }) => scope === 'ipa-range' || scope === 'va-range'],
  ['of the VMID', ({ scope }) => scope === 'vmid'],
  ['of every VMID', ({ scope }) => scope === 'all'],
  ['by VA or ASID', ({ scope }) => scope === 'va' || scope === 'asid'],
  ['of all of stage 1', ({ scope }) => scope === 'stage1'],
];

const whole = (value: number): string => value.toLocaleString('en');
const seconds = (value: number): string => (value < 1e9 ? durationText(value) : `${whole(value / 1e9)} s`);
const power = (value: number): string => (value < 1000 ? whole(value) : value < 1e6 ? `${value / 1e3}k` : value < 1e9 ? `${value / 1e6}M` : `${value / 1e9}G`);

const sumOf = (tlbis: Counts['tlbis'], matches: (tlbi: TlbiCount) => boolean): number =>
  tlbis.reduce((sum, tlbi) => (matches(tlbi) ? sum + tlbi.count : sum), 0);

/** TLB invalidations of each variant by kind, on a logarithmic axis; undefined where there are none. */
export function tlbiPlot(variants: readonly VariantReport[]): string | undefined {
  const used = TLBI_KINDS.map(([name, matches], series) => ({ name, matches, series })).filter(({ matches }) =>
    variants.some(({ counts }) => sumOf(counts.tlbis, matches) > 0),
  );
  if (used.length === 0) {
    return undefined;
  }
  const groups = variants.map(({ name, counts }) => {
    const bars = used.flatMap(({ matches, series }) => {
      const value = sumOf(counts.tlbis, matches);
      return value === 0 ? [] : [{ value, label: whole(value), series }];
    });
    return { name, bars: bars.length === 0 ? [{ value: 0, label: 'none', series: 0 }] : bars };
  });
  return legend(used) + logBars({ title: 'TLB invalidations by variant', groups, tick: power });
}

/** Estimated cost of each variant under one profile, with the measured totals that were held against whole runs. */
export function costPlot({ variants, brackets }: RunReport, profile: string): string | undefined {
  const groups = variants.map(({ name, costs }) => ({
    name,
    bars: costs.filter((cost) => cost.profile === profile).map((cost) => ({ value: cost.ns, label: costText(cost), series: 0, open: cost.lowerBound })),
  }));
  if (groups.every(({ bars }) => bars.every(({ value }) => value === 0))) {
    return undefined;
  }
  const marks = brackets
    .filter((each) => each.profile === profile)
    .map(({ measured, phase }) => ({ value: measured.ns, label: `${durationText(measured.ns)} measured${phase === undefined ? '' : ` (${phase})`}` }));
  return logBars({ title: `Estimated cost by variant, ${profile}`, groups, tick: seconds, marks });
}

/** A column for each phase, stacked by what `amounts` tells apart; undefined where there is nothing. */
function stacked(
  variant: VariantReport,
  title: string,
  amounts: (phase: PhaseReport) => ReadonlyMap<string, number>,
  amount: (value: number) => string,
  options: { readonly binary?: boolean; readonly colour?: (name: string, i: number) => number } = {},
): string | undefined {
  const found = variant.phases.map(amounts);
  const names = [...new Set(found.flatMap((each) => [...each.keys()]))];
  if (names.length === 0) {
    return undefined;
  }
  const { binary = false, colour } = options;
  const stacks = names.map((name, i) => ({ name, series: colour?.(name, i) ?? i, values: found.map((each) => each.get(name) ?? 0) }));
  const phases = variant.phases.map(({ name }) => name);
  return legend(stacks) + columns({ title: `${title}, ${variant.name}`, phases, stacks, amount, binary });
}

function gathered<T>(list: readonly T[], name: (each: T) => string, value: (each: T) => number): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  list.forEach((each) => sums.set(name(each), (sums.get(name(each)) ?? 0) + value(each)));
  return sums;
}

/** Faults of a variant over the run, by type and stage. */
export function faultPlot(variant: VariantReport): string | undefined {
  const name = ({ type, stage }: Counts['faults'][number]): string => `${type}, stage ${stage}`;
  return stacked(variant, 'Faults', ({ counts }) => gathered(counts.faults, name, ({ count }) => count), power);
}

/** What is mapped at the end of each phase, by level. */
export function levelPlot(variant: VariantReport): string | undefined {
  const byLevel = ({ mappings }: PhaseReport): ReadonlyMap<string, number> => gathered(mappings, ({ level }) => `level ${level}`, ({ bytes }) => bytes);
  return stacked(variant, 'Mapped by level', byLevel, sizeText, { binary: true, colour: (name) => Number(name.slice(-1)) });
}

/** The most table pages of each phase: a line for each variant, as far as the colours go. */
export function tablesPlot(variants: readonly VariantReport[]): string {
  const phases = [...new Set(variants.flatMap((variant) => variant.phases.map(({ name }) => name)))];
  const shown = variants.slice(0, SERIES);
  const drawn = shown.map(({ name, phases: own }, series) => ({
    name, series, values: phases.map((phase) => own.find((each) => each.name === phase)?.tables.now.pages ?? 0),
  }));
  return legend(drawn) + lines({ title: 'Table pages at the end of each phase', phases, lines: drawn, amount: power });
}
