import { scaleLog } from 'd3-scale';
import { bar, element, picture, text } from './svg.js';

export interface LogBar {
  readonly value: number;
  readonly label: string;
  /** Colour. */
  readonly series: number;
  /** The value is a lower bound: the bar is open at its end. */
  readonly open?: boolean;
}

export interface LogBars {
  readonly title: string;
  readonly groups: readonly { readonly name: string; readonly bars: readonly LogBar[] }[];
  /** Text of a tick. */
  readonly tick: (value: number) => string;
  /** Values to compare with, drawn across. */
  readonly marks?: readonly { readonly value: number; readonly label: string }[];
}

const ROW = 17;
const GAP = 9;
const [PLOT, RIGHT, TOP, BOTTOM] = [560, 210, 22, 24];
/** Room for names: as much as the longest takes, within bounds; what is longer is cut. */
const [LEAST, MOST, CHARACTER] = [190, 360, 7];

/** Horizontal bars on a logarithmic axis, in groups; a value of 0 has no bar. */
export function logBars({ title, groups, tick, marks = [] }: LogBars): string {
  const values = [...groups.flatMap(({ bars }) => bars.map(({ value }) => value)), ...marks.map(({ value }) => value)].filter((value) => value > 0);
  const from = 10 ** (Math.floor(Math.log10(Math.min(...values, 1e15))) - (values.length > 1 ? 0 : 1));
  const to = 10 ** Math.max(Math.ceil(Math.log10(Math.max(...values, 10))), Math.log10(from) + 1);
  const left = Math.min(MOST, Math.max(LEAST, ...groups.map(({ name }) => 16 + name.length * CHARACTER)));
  const x = scaleLog([from / 2, to], [left, left + PLOT]);
  const rows = groups.map(({ bars }) => Math.max(1, bars.length) * ROW + GAP);
  const height = TOP + rows.reduce((sum, each) => sum + each, 0);
  const ticks = x.ticks().filter((value) => Number.isInteger(Math.log10(value)) || Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9);
  const grid = ticks.map((value) => line(x(value), TOP, height, 'grid') + text(x(value), height + 16, tick(value), { 'text-anchor': 'middle', class: 'axis' }));
  let y = TOP;
  const drawn = groups.map(({ name, bars }, i) => {
    const top = y;
    y += rows[i];
    return text(left - 8, top + ROW / 2 + 5, fitting(name), { 'text-anchor': 'end' }) + bars.map((each, row) => oneBar(each, left, top + row * ROW, x)).join('');
  });
  const marked = marks.map(({ value, label }) => line(x(value), TOP - 4, height, 'mark') + text(x(value), TOP - 8, label, { 'text-anchor': 'middle', class: 'mark' }));
  return picture(left + PLOT + RIGHT, height + BOTTOM, title, ...grid, ...drawn, ...marked);
}

function fitting(name: string): string {
  const most = Math.floor((MOST - 16) / CHARACTER);
  return name.length <= most ? name : `${name.slice(0, most - 1)}…`;
}

function oneBar({ value, label, series, open = false }: LogBar, left: number, y: number, x: (value: number) => number): string {
  if (value <= 0) {
    return text(left + 6, y + ROW / 2 + 5, label, { class: 'value' });
  }
  const end = x(value);
  const arrow = open ? element('path', { d: `M${end.toFixed(1)} ${y + 2}l6 ${(ROW - 4) / 2}l-6 ${(ROW - 4) / 2}z`, class: `s${series}` }) : '';
  return bar(left, y + 2, end - left, ROW - 4, series, label) + arrow + text(end + (open ? 11 : 6), y + ROW / 2 + 5, label, { class: 'value' });
}

function line(x: number, from: number, to: number, name: string): string {
  return element('line', { x1: x, x2: x, y1: from, y2: to, class: name });
}
