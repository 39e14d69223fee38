import { done, levelIndex, refused, type Change, type Format, type FormatNumbers, type Outcome } from '@granule/contract';

/** A format that differs from a good one in one thing, and the assertion that must say so. */
export interface FormatMutant {
  readonly fault: string;
  readonly caughtBy: string;
  readonly change: (good: Format) => Partial<Format>;
}

const numbers =
  (change: (n: FormatNumbers) => Partial<FormatNumbers>) =>
  (good: Format): Partial<Format> => ({ numbers: { ...good.numbers, ...change(good.numbers) } });

const at = (list: readonly number[], level: number, value: number): readonly number[] =>
  list.map((each, i) => (i === levelIndex(level) ? value : each));

/** The value of an outcome that is done, changed. */
const after = <T>(outcome: Outcome<T>, change: (value: T) => T): Outcome<T> =>
  outcome.kind === 'done' ? done(change(outcome.value)) : outcome;

const withSet = (change: Change, loSet: number): Change => ({ ...change, loSet: (change.loSet | loSet) >>> 0 });

const READ_ONLY = 1 << 6;
const EXECUTE = 1 << 5;

export const FORMAT_MUTANTS: readonly FormatMutant[] = [
  { fault: 'a type mask with a bit too few', caughtBy: 'kind.mask', change: numbers((n) => ({ typeMask: at(n.typeMask, 2, 0b110 << 2) })) },
  { fault: 'kind reads every level as level 3', caughtBy: 'kind.mask', change: (f) => ({ kind: (lo, hi) => f.kind(lo, hi, 3) }) },
  {
    fault: 'kind reads the level below',
    caughtBy: 'kind.encode-leaf',
    change: (f) => ({ kind: (lo, hi, level) => f.kind(lo, hi, level === 3 ? 3 : ((level + 1) as never)) }),
  },
  {
    fault: 'zero is annotated',
    caughtBy: 'kind.zero',
    change: (f) => ({ kind: (lo, hi, level) => (lo === 0 && hi === 0 ? 1 : f.kind(lo, hi, level)) }),
  },
  {
    fault: 'leaves are encoded for the level above',
    caughtBy: 'kind.encode-leaf',
    change: (f) => ({ encodeLeaf: (r, level) => f.encodeLeaf(r, level === 3 ? 2 : level) }),
  },
  {
    fault: 'leaves at levels that have none',
    caughtBy: 'kind.encode-leaf',
    change: (f) => ({ encodeLeaf: (r, level) => f.encodeLeaf(r, level < 1 ? 2 : level) }),
  },
  {
    fault: 'tables are encoded as annotations',
    caughtBy: 'kind.encode-table',
    change: (f) => ({ encodeTable: (a) => after(f.encodeTable(a), (w) => ({ ...w, lo: 6 << 2 })) }),
  },
  {
    fault: 'the access flag is lost in encoding',
    caughtBy: 'attributes.round-trip',
    change: (f) => ({ encodeLeaf: (r, level) => f.encodeLeaf({ ...r, af: false }, level) }),
  },
  {
    fault: 'the access flag is lost in decoding',
    caughtBy: 'attributes.re-encode',
    change: (f) => ({ decodeLeaf: (lo, hi, level) => ({ ...f.decodeLeaf(lo, hi, level), af: true }) }),
  },
  {
    fault: 'px and ux are swapped in decoding',
    caughtBy: 'attributes.round-trip',
    change: (f) => ({
      decodeLeaf(lo, hi, level) {
        const a = f.decodeLeaf(lo, hi, level);
        return { ...a, px: a.ux, ux: a.px };
      },
    }),
  },
  {
    fault: 'defaults that encoding does not use',
    caughtBy: 'attributes.defaults',
    change: (f) => ({ defaults: { ...f.defaults, write: !f.defaults.write } }),
  },
  {
    fault: 'blocks are never executable',
    caughtBy: 'attributes.every-level',
    change: (f) => ({ encodeLeaf: (r, level) => f.encodeLeaf(level < 3 ? { ...r, px: false } : r, level) }),
  },
  {
    fault: 'the top address bits are lost in leafOutput',
    caughtBy: 'address.leaf-round-trip',
    change: (f) => ({ leafOutput: (lo, hi, level) => f.leafOutput(lo, hi, level) % 2 ** 40 }),
  },
  {
    fault: 'leafOutput reads as at level 3',
    caughtBy: 'address.numbers',
    change: (f) => ({ leafOutput: (lo, hi) => f.leafOutput(lo, hi, 3) }),
  },
  {
    fault: 'tableOutput loses its lowest bit',
    caughtBy: 'address.table-round-trip',
    change: (f) => ({ tableOutput: (lo, hi) => f.tableOutput((lo & ~(1 << f.geometry.pageShift)) >>> 0, hi) }),
  },
  { fault: 'a top-bits field one bit too low', caughtBy: 'address.numbers', change: numbers((n) => ({ oaTopLsb: n.oaTopLsb - 1 })) },
  {
    fault: 'an address mask that reaches into the attributes',
    caughtBy: 'address.no-overlap',
    change: numbers((n) => ({ leafOaHi: at(n.leafOaHi, 3, 0x1ff) })),
  },
  {
    fault: 'misaligned output addresses are accepted',
    caughtBy: 'address.refused',
    change: (f) => ({ encodeOutput: (oa) => f.encodeOutput(oa, 0) }),
  },
  {
    fault: 'too large output addresses wrap',
    caughtBy: 'address.refused',
    change: (f) => ({ encodeOutput: (oa, shift) => f.encodeOutput(oa % 2 ** 44, shift) }),
  },
  {
    fault: 'write protection takes execution away too',
    caughtBy: 'access.write-protect',
    change: numbers((n) => ({ writeProtect: { ...n.writeProtect, loClear: EXECUTE } })),
  },
  {
    fault: 'write protection of nothing',
    caughtBy: 'access.write-protect',
    change: numbers((n) => ({ writeProtect: { ...n.writeProtect, loSet: 0 } })),
  },
  { fault: 'writable bits of the wrong polarity', caughtBy: 'access.writable', change: numbers(() => ({ writableLo: READ_ONLY })) },
  { fault: 'an access flag that is another bit', caughtBy: 'access.af', change: numbers((n) => ({ afHi: n.afHi << 1 })) },
  { fault: 'a contiguous bit that is another bit', caughtBy: 'access.contiguous', change: numbers(() => ({ contiguousLo: READ_ONLY })) },
  { fault: 'software bits one too high', caughtBy: 'access.software', change: numbers((n) => ({ softwareHi: n.softwareHi << 1 })) },
  {
    fault: 'permission bits with the access flag among them',
    caughtBy: 'access.permission',
    change: numbers((n) => ({ permissionHi: n.permissionHi | n.afHi })),
  },
  {
    fault: 'permission bits without the right to write',
    caughtBy: 'access.permission',
    change: numbers((n) => ({ permissionLo: n.permissionLo & ~READ_ONLY })),
  },
  {
    fault: 'relax takes the right to write away',
    caughtBy: 'relax.adds',
    change: (f) => ({ relax: (add) => after(f.relax(add), (c) => (add.read === true ? withSet(c, READ_ONLY) : c)) }),
  },
  {
    fault: 'relax sets the access flag',
    caughtBy: 'relax.only',
    change: (f) => ({ relax: (add) => after(f.relax(add), (c) => (add.read === true ? { ...c, hiSet: f.numbers.afHi } : c)) }),
  },
  {
    fault: 'relax of nothing makes executable',
    caughtBy: 'relax.nothing',
    change: (f) => ({ relax: (add) => after(f.relax(add), (c) => withSet(c, EXECUTE)) }),
  },
  {
    fault: 'annotations keep 16 bits',
    caughtBy: 'annotation.round-trip',
    change: (f) => ({ encodeAnnotation: (type, value) => f.encodeAnnotation(type, value & 0xffffn) }),
  },
  {
    fault: 'annotations that are leaves',
    caughtBy: 'annotation.kind',
    change: (f) => ({ encodeAnnotation: (type, value) => after(f.encodeAnnotation(type, value), (w) => ({ ...w, lo: w.lo & ~(1 << 3) })) }),
  },
  {
    fault: 'annotations of type 0',
    caughtBy: 'annotation.refused',
    change: (f) => ({ encodeAnnotation: (type, value) => f.encodeAnnotation(type === 0 ? 1 : type, value) }),
  },
  { fault: 'a locked marker of zero', caughtBy: 'locked.kind', change: () => ({ locked: { lo: 0, hi: 0 } }) },
  { fault: 'no break-before-make at all', caughtBy: 'bbm.output-address', change: () => ({ mustBreak: () => undefined }) },
  {
    fault: 'tables and leaves replace each other freely',
    caughtBy: 'bbm.table-and-leaf',
    change: (f) => ({
      mustBreak: (a, b, c, d, level) => (f.kind(a, b, level) === f.kind(c, d, level) ? f.mustBreak(a, b, c, d, level) : undefined),
    }),
  },
  {
    fault: 'break-before-make for every change',
    caughtBy: 'bbm.in-place',
    change: () => ({ mustBreak: (a, b, c, d) => (a === c && b === d ? undefined : { id: 'x.y', clause: 'x', sentence: 'x' }) }),
  },
  {
    fault: 'break-before-make for no change',
    caughtBy: 'bbm.reflexive',
    change: () => ({ mustBreak: () => ({ id: 'x.y', clause: 'x', sentence: 'x' }) }),
  },
  {
    fault: 'a layout without its lowest bit',
    caughtBy: 'layout.partition',
    change: (f) => ({ layout: (kind, level) => f.layout(kind, level).slice(0, -1) }),
  },
  {
    fault: 'explain reads the low half only',
    caughtBy: 'explain.recompose',
    change: (f) => ({ explain: (lo, _, level) => f.explain(lo, 0, level) }),
  },
  {
    fault: 'explain without meanings',
    caughtBy: 'explain.meaning',
    change: (f) => ({ explain: (lo, hi, level) => f.explain(lo, hi, level).map((each) => ({ ...each, meaning: '' })) }),
  },
  {
    fault: 'refusals of two lines',
    caughtBy: 'refusal.sentence',
    change: () => ({ encodeAnnotation: () => refused('annotation.none', 'One line.\nAnother.', 'x') }),
  },
];
