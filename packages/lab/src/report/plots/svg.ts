import { escapeHtml } from '../../page/page.js';

type Attributes = Readonly<Record<string, string | number | undefined>>;

/** An SVG element as text. Children are elements already: text goes through {@link text}. */
export function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
  const written = Object.entries(attributes).map(([key, value]) => (value === undefined ? '' : ` ${key}="${escapeHtml(valueText(value))}"`));
  return children.length === 0 ? `<${name}${written.join('')}/>` : `<${name}${written.join('')}>${children.join('')}</${name}>`;
}

function valueText(value: string | number): string {
  return typeof value === 'number' ? String(Math.round(value * 10) / 10) : value;
}

export function text(x: number, y: number, content: string, attributes: Attributes = {}): string {
  return element('text', { x, y, ...attributes }, escapeHtml(content));
}

/** What shows where the pointer rests. */
export function tooltip(content: string): string {
  return element('title', {}, escapeHtml(content));
}

/** A rectangle with a tooltip. */
export function bar(x: number, y: number, width: number, height: number, series: number, hint: string): string {
  return element('rect', { x, y, width, height, class: `s${series % SERIES}` }, tooltip(hint));
}

/** How many colours there are. */
export const SERIES = 8;

/** A picture `width` pixels wide, or as wide as its place where that is narrower; `label` for those who do not see it. */
export function picture(width: number, height: number, label: string, ...children: readonly string[]): string {
  return element('svg', { viewBox: `0 0 ${Math.ceil(width)} ${Math.ceil(height)}`, style: `width:${Math.ceil(width)}px`, role: 'img', 'aria-label': label }, ...children);
}

/** What the colours stand for. */
export function legend(series: readonly { readonly name: string; readonly series: number }[]): string {
  const items = series.map(({ name, series: colour }) => `<span><i class="k${colour % SERIES}"></i>${escapeHtml(name)}</span>`);
  return `<p class="legend">${items.join('')}</p>`;
}
