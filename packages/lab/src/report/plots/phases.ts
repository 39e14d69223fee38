import { scaleBand, scaleLinear, scalePoint } from 'd3-scale';
import { bar, element, picture, SERIES, text, tooltip } from './svg.js';

/** Amounts for people: a tick or a tooltip. */
export type Amount = (value: number) => string;

export interface Columns {
  readonly title: string;
  /** One column each. */
  readonly phases: readonly string[];
  /** Stacked, from the bottom; a value for each phase. `series` is the colour. */
  readonly stacks: readonly { readonly name: string; readonly series: number; readonly values: readonly number[] }[];
  readonly amount: Amount;
  /** The axis steps by powers of two (bytes) rather than of ten. */
  readonly binary?: boolean;
}

export interface Lines {
  readonly title: string;
  readonly phases: readonly string[];
  readonly lines: readonly { readonly name: string; readonly series: number; readonly values: readonly number[] }[];
  readonly amount: Amount;
}

const [LEFT, RIGHT, TOP, HEIGHT, BOTTOM] = [64, 10, 10, 150, 46];
const COLUMN = 86;

/** Height over phases: ticks and grid, and where a value is. */
function vertical(most: number, width: number, amount: Amount, binary = false): { readonly y: (value: number) => number; readonly grid: string } {
  const unit = binary ? 2 ** (10 * Math.floor(Math.log2(Math.max(most, 1)) / 10)) : 1;
  const scale = scaleLinear([0, Math.max(most / unit, binary ? 2 ** -10 : 1)], [TOP + HEIGHT, TOP]).nice(4);
  const y = (value: number): number => scale(value / unit);
  const ticks = scale.ticks(4).filter((tick) => binary || Number.isInteger(tick));
  const grid = ticks.map((tick) =>
    element('line', { x1: LEFT, x2: LEFT + width, y1: scale(tick), y2: scale(tick), class: 'grid' }) +
    text(LEFT - 6, scale(tick) + 4, amount(tick * unit), { 'text-anchor': 'end', class: 'axis' }),
  );
  return { y, grid: grid.join('') };
}

/** Names under the columns, the long ones aslant. */
function names(phases: readonly string[], x: (phase: string) => number): string {
  const slanted = phases.some((name) => name.length > 12);
  return phases.map((name, i) => {
    const at = x(String(i));
    const y = TOP + HEIGHT + 16;
    const short = name.length > 24 ? `${name.slice(0, 23)}…` : name;
    return text(at, y, short, slanted ? { 'text-anchor': 'end', transform: `rotate(-20 ${at.toFixed(1)} ${y})`, class: 'axis' } : { 'text-anchor': 'middle', class: 'axis' });
  }).join('');
}

/** A stacked column for each phase. */
export function columns({ title, phases, stacks, amount, binary }: Columns): string {
  const width = Math.max(2, phases.length) * COLUMN;
  const totals = phases.map((_, i) => stacks.reduce((sum, { values }) => sum + values[i], 0));
  const { y, grid } = vertical(Math.max(...totals), width, amount, binary);
  const band = scaleBand(phases.map((_, i) => String(i)), [LEFT, LEFT + width]).padding(0.3);
  const bars = phases.flatMap((phase, i) => {
    let base = 0;
    return stacks.map(({ name, series, values }) => {
      const from = base;
      base += values[i];
      const hint = `${phase}, ${name}: ${amount(values[i])}`;
      return values[i] === 0 ? '' : bar(band(String(i)) ?? 0, y(base), band.bandwidth(), Math.max(0.8, y(from) - y(base)), series, hint);
    });
  });
  const axis = names(phases, (phase) => (band(phase) ?? 0) + band.bandwidth() / 2);
  return picture(LEFT + width + RIGHT, TOP + HEIGHT + BOTTOM, title, grid, ...bars, axis);
}

/** A line for each of several things, over phases. */
export function lines({ title, phases, lines: drawn, amount }: Lines): string {
  const width = Math.max(2, phases.length) * COLUMN * 1.3;
  const { y, grid } = vertical(Math.max(...drawn.flatMap(({ values }) => values)), width, amount);
  const point = scalePoint(phases.map((_, i) => String(i)), [LEFT, LEFT + width]).padding(0.5);
  const at = (i: number): number => point(String(i)) ?? 0;
  const paths = drawn.map(({ name, series, values }) => {
    const d = values.map((value, i) => `${i === 0 ? 'M' : 'L'}${at(i).toFixed(1)} ${y(value).toFixed(1)}`).join('');
    const dots = values.map((value, i) =>
      element('circle', { cx: at(i), cy: y(value), r: 3, class: `s${series % SERIES}` }, tooltip(`${phases[i]}, ${name}: ${amount(value)}`)),
    );
    return element('path', { d, class: `line l${series % SERIES}` }) + dots.join('');
  });
  return picture(LEFT + width + RIGHT, TOP + HEIGHT + BOTTOM, title, grid, ...paths, names(phases, (phase) => point(phase) ?? 0));
}
