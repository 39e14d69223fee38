import type { AccessEffect, CmoEffect, ContextFormat, DsbDomain, Effect } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { createJudge, type JudgeOptions } from '../../src/index.js';
import { formats } from './run.js';

const PA = 0x8000_4000;
const WB = { attributes: 0xff, shareability: 3 } as const;
const WT = { attributes: 0xbb, shareability: 3 } as const;
const NC = { attributes: 0x44, shareability: 2 } as const;
const DEVICE = { attributes: 0x04, shareability: 2 } as const;
type Type = { readonly attributes?: number; readonly shareability?: number };

const access = (kind: AccessEffect['access'], type: Type, more: Partial<AccessEffect> = {}): Effect => ({
  type: 'access', access: kind, address: 0x4000, output: PA, bytes: 8, ...type, ...more,
});
const write = (type: Type, more: Partial<AccessEffect> = {}): Effect => access('write', type, more);
const read = (type: Type, more: Partial<AccessEffect> = {}): Effect => access('read', type, more);
const fetch = (more: Partial<AccessEffect> = {}): Effect => access('fetch', WB, { bytes: 4, ...more });
const cmo = (op: CmoEffect['op'], more: Partial<CmoEffect> = {}): Effect => ({ type: 'cmo', op, to: 'poc', address: PA, bytes: 64, ...more });
const dsb = (domain: DsbDomain = 'ish', pe = 0): Effect => ({ type: 'dsb', domain, pe });
const isb = (pe = 0): Effect => ({ type: 'isb', pe });
const ctr = (idc: boolean, dic: boolean): Effect => ({ type: 'register', name: 'CTR_EL0', value: (idc ? 1n << 28n : 0n) | (dic ? 1n << 29n : 0n) });

type Told = readonly [rule: string, cause: number, exposed: number];

function told(effects: readonly Effect[], options: Partial<JudgeOptions> = {}): readonly Told[] {
  const judge = createJudge({ format: formats, caches: { idc: false, dic: false }, ...options });
  for (const each of effects) judge.effect(each);
  return judge.verdict().violations.map(({ rule, cause, exposed }) => [rule.id, cause, exposed]);
}

const CASES: readonly (readonly [string, readonly Effect[], readonly Told[]])[] = [
  ['an uncached read after a cacheable write', [write(WB), read(NC)], [['data.stale-read', 1, 2]]],
  ['so on Device memory', [write(WB), read(DEVICE)], [['data.stale-read', 1, 2]]],
  ['so with caches off: Non-cacheable, by its attributes', [write(WB), read({ attributes: 0x44, shareability: 2 }, { pe: 1 })], [['data.stale-read', 1, 2]]],
  ['a clean without its DSB', [write(WB), cmo('dc-cvac'), read(NC)], [['data.stale-read', 2, 3]]],
  ['a clean with a DSB of stores alone', [write(WB), cmo('dc-cvac'), dsb('ishst'), read(NC)], [['data.stale-read', 2, 4]]],
  ['a clean with a DSB on another PE', [write(WB), cmo('dc-cvac'), dsb('ish', 1), read(NC)], [['data.stale-read', 2, 4]]],
  ['a clean with a DSB of its PE alone, read by another', [write(WB), cmo('dc-cvac'), dsb('nsh'), read(NC, { pe: 1 })], [['data.stale-read', 2, 4]]],
  ['and read by itself', [write(WB), cmo('dc-cvac'), dsb('nsh'), read(NC)], []],
  ['a clean to the point of unification', [write(WB), cmo('dc-cvau'), dsb(), read(NC)], [['data.stale-read', 2, 4]]],
  ['a clean of the next line', [write(WB), cmo('dc-cvac', { address: PA + 64 }), dsb(), read(NC)], [['data.stale-read', 1, 4]]],
  ['a clean before the write', [cmo('dc-cvac'), dsb(), write(WB), read(NC)], [['data.stale-read', 3, 4]]],
  ['a clean by whoever, of a whole page', [write(WB), cmo('dc-civac', { pe: 1, address: PA - 0x4000, bytes: 0x8000 }), dsb('sy', 1), read(NC)], []],
  ['a loop over several lines has its DSB', [write(WB), cmo('dc-cvac', { bytes: 4096 }), read(NC, { pe: 1 })], []],
  ['other bytes of the line', [write(WB), read(NC, { output: PA + 8 })], []],
  ['half of the bytes', [write(WB), read(NC, { output: PA + 4, bytes: 4 })], [['data.stale-read', 1, 2]]],
  ['Write-Through', [write(WT), read(NC)], []],
  ['cacheable on whatever PE', [write(WB), read(WB, { pe: 1 }), write(WB, { pe: 1 }), read(WB)], []],
  ['uncached on whatever PE', [write(NC), read(DEVICE, { pe: 1 }), read(NC)], []],
  ['a type that nobody tells', [write({}), read(NC), write(WB), read({})], []],
  ['DC ZVA of an unknown type', [cmo('dc-zva'), read(NC)], []],

  ['a cacheable read of what was written past a copy', [read(WB), write(NC), read(WB)], [['data.stale-read', 2, 3]]],
  ['the copy is dropped too early', [read(WB), cmo('dc-ivac'), dsb(), write(NC), read(WB)], []],
  ['the copy is dropped, and no DSB', [read(WB), write(NC), cmo('dc-ivac'), read(WB)], []],
  ['the copy is dropped', [read(WB), write(NC), cmo('dc-ivac'), dsb(), read(WB)], []],
  ['there was no copy', [write(NC), read(WB)], []],

  ['a dirty line is invalidated', [write(WB, { value: 1n }), cmo('dc-ivac'), dsb(), read(WB, { value: 0n })], [['data.lost-dirty-line', 2, 4]]],
  ['and had been evicted before, as the value says', [write(WB, { value: 1n }), cmo('dc-ivac'), dsb(), read(WB, { value: 1n })], []],
  ['and is written again', [write(WB), cmo('dc-ivac'), dsb(), write(WB), read(WB)], []],
  ['an uncached write past a dirty line', [write(WB), write(NC, { output: PA + 16 }), read(NC, { output: PA + 16 })], [['data.lost-dirty-line', 1, 3]]],
  ['of the same bytes', [write(WB), write(NC), read(NC)], [['data.lost-dirty-line', 1, 3]]],
  ['after the line was cleaned', [write(WB), cmo('dc-civac'), dsb(), write(NC), read(NC), read(WB)], []],

  ['new code without anything', [write(WB), fetch()], [['code.stale-instructions', 1, 2]]],
  ['clean, no invalidation', [write(WB), cmo('dc-cvau'), dsb(), isb(), fetch()], [['code.stale-instructions', 1, 5]]],
  ['invalidation, no clean', [write(WB), cmo('ic-ivau'), dsb(), isb(), fetch()], [['code.stale-instructions', 2, 5]]],
  ['no DSB between them', [write(WB), cmo('dc-cvau'), cmo('ic-ivau'), dsb(), isb(), fetch()], [['code.stale-instructions', 3, 6]]],
  ['no DSB after them', [write(WB), cmo('dc-cvau'), dsb(), cmo('ic-ivau'), isb(), fetch()], [['code.stale-instructions', 4, 6]]],
  ['no ISB', [write(WB), cmo('dc-cvau'), dsb(), cmo('ic-ivau'), dsb(), fetch()], [['code.stale-instructions', 4, 6]]],
  ['an ISB is for the PE itself', [write(WB), cmo('dc-cvau'), dsb(), cmo('ic-ivau'), dsb(), fetch({ pe: 1 })], []],
  ['IC IALLU on another PE', [write(WB), cmo('dc-cvau'), dsb(), cmo('ic-iallu', { address: 0, bytes: 0 }), dsb(), fetch({ pe: 1 })], [['code.stale-instructions', 4, 6]]],
  ['IC IALLU on its own PE', [write(WB), cmo('dc-cvau'), dsb(), cmo('ic-iallu', { address: 0, bytes: 0 }), dsb('nsh'), isb(), fetch()], []],
  ['IC IALLUIS', [write(WB), cmo('dc-civac'), dsb(), cmo('ic-ialluis', { address: 0, bytes: 0 }), dsb(), fetch({ pe: 1 })], []],
  ['loops over several lines', [write(WB), cmo('dc-cvau', { bytes: 4096 }), cmo('ic-ivau', { bytes: 4096 }), fetch()], []],
  ['uncached code needs the invalidation alone', [write(NC), cmo('ic-ivau'), dsb(), fetch({ pe: 1 })], []],
  ['so it does with IDC', [ctr(true, false), write(WB), cmo('ic-ivau'), dsb(), fetch({ pe: 1 }), write(WB), fetch({ pe: 1 })], [['code.stale-instructions', 6, 7]]],
  ['with DIC the clean alone', [ctr(false, true), write(WB), cmo('dc-cvau'), dsb(), fetch({ pe: 1 }), write(WB), fetch({ pe: 1 })], [['code.stale-instructions', 6, 7]]],
  ['with both nothing', [ctr(true, true), write(WB), fetch()], []],
  ['code that nobody wrote', [read(WB), fetch()], []],

  ['set/way on another PE', [write(WB, { pe: 1 }), cmo('dc-cisw'), dsb(), read(NC)], [['cache.set-way-not-enough', 2, 4]]],
  ['set/way on its PE, while another could draw the line over', [fetch({ pe: 1 }), write(WB), cmo('dc-csw'), dsb(), read(NC)], [['cache.set-way-not-enough', 3, 5]]],
  ['set/way where there is one PE', [write(WB), cmo('dc-csw'), dsb(), read(NC)], []],
  ['set/way before the write', [cmo('dc-csw'), dsb(), write(WB), read(NC)], [['data.stale-read', 3, 4]]],
  ['set/way that only invalidates cleans nothing', [write(WB), cmo('dc-isw'), dsb(), read(NC)], [['data.stale-read', 1, 4]]],
];

describe('bytes', () => {
  it.each(CASES)('%s', (_, effects, expected) => {
    expect(told(effects)).toEqual(expected);
  });

  it('are not looked at without caches, nor where a model has already told', () => {
    expect(told([write(WB), fetch(), read(NC)], { caches: 'none' })).toEqual([]);
    expect(told([write(WB), fetch()], { caches: undefined })).toEqual([]);
    expect(told([write(WB), read(NC, { mismatch: { rule: 'data.lost-dirty-line', cause: 1 } })])).toEqual([['data.lost-dirty-line', 1, 2]]);
  });

  it('are told once for each write', () => {
    expect(told([write(WB), read(NC), read(NC), write(WB), read(NC)])).toEqual([
      ['data.stale-read', 1, 2],
      ['data.stale-read', 4, 5],
    ]);
  });

  it('of more lines than are remembered are forgotten, oldest first', () => {
    const many = Array.from({ length: 65_536 }, (_, i) => write(WB, { output: PA + 64 + 64 * i }));
    expect(told([write(WB), ...many, read(NC), read(NC, { output: PA + 64 })])).toEqual([['data.stale-read', 2, 65_539]]);
  });
});

const S2: ContextFormat = { backend: 'armv8', granule: '4K', iaBits: 40, oaBits: 48, startLevel: 1 };
const S1: ContextFormat = { ...S2, iaBits: 39, mair: 0x44_04_ffn };
/** Entry 4 of a table of level 1: a block of 1 GiB. */
const block = (table: number, lo: number): Effect => ({
  type: 'write', table, level: 1, index: 4, count: 1, address: 2 ** 32, old: new Uint32Array(2), new: Uint32Array.of(lo, 0), release: true,
});
const stage2 = (memAttr: number, format: Partial<ContextFormat> = {}): readonly Effect[] => [
  { type: 'context-installed', regime: 's2', root: 0x1_0000, vmid: 1, format: { ...S2, ...format } },
  block(0x1_0000, 0x8000_07c1 + memAttr * 4),
  dsb(),
];
const stage1 = (attrIndex: number): readonly Effect[] => [
  { type: 'context-installed', regime: 'el10', root: 0x2_0000, vmid: 1, asid: 3, format: S1 },
  block(0x2_0000, 0x8000_0f01 + attrIndex * 4),
  dsb(),
];
const guest = { address: 2 ** 32 + 0x4000, ipa: 2 ** 32 + 0x4000, regime: 'el10', vmid: 1, asid: 3, pe: 1 } as const;

/** Whether an access of this type, by tables alone, is one that a dirty line hides memory from (uncached), or hides others (cached). */
function kindOf(tables: readonly Effect[], more: Partial<AccessEffect> = guest): string {
  const reads = told([...tables, write(WB), read({}, more)]).some(([rule]) => rule === 'data.stale-read');
  const writes = told([...tables, write({}, more), read(NC)]).some(([rule]) => rule === 'data.stale-read');
  return reads ? 'uncached' : writes ? 'cached' : 'unknown';
}

describe('memory types by the tables in force', () => {
  it.each([
    ['stage 2 Normal, stage 1 not told', stage2(0xf), 'unknown'],
    ['stage 2 Non-cacheable, stage 1 not told', stage2(0x5), 'uncached'],
    ['stage 2 Device, stage 1 Normal', [...stage2(0x1), ...stage1(0)], 'uncached'],
    ['both Normal', [...stage2(0xf), ...stage1(0)], 'cached'],
    ['stage 2 Normal, stage 1 Device', [...stage2(0xf), ...stage1(1)], 'uncached'],
    ['stage 2 Normal, stage 1 Non-cacheable', [...stage2(0xf), ...stage1(2)], 'uncached'],
    ['FWB forces Write-Back', [...stage2(0x6, { fwb: true }), ...stage1(2)], 'cached'],
    ['FWB leaves it to stage 1', [...stage2(0x7, { fwb: true }), ...stage1(2)], 'uncached'],
    ['FWB forces Device', [...stage2(0x1, { fwb: true }), ...stage1(0)], 'uncached'],
    ['no table', [], 'unknown'],
  ] as const)('%s: %s', (_, tables, kind) => {
    expect(kindOf(tables)).toBe(kind);
  });

  it('stage 2 alone, for an access by IPA', () => {
    const ipa = { address: 2 ** 32 + 0x4000, regime: 's2', vmid: 1, pe: 1 } as const;
    expect([kindOf(stage2(0xf), ipa), kindOf(stage2(0x5), ipa)]).toEqual(['cached', 'uncached']);
  });

  it('stage 1 alone', () => {
    const va = { address: 2 ** 32 + 0x4000, regime: 'el10', asid: 3, pe: 1 } as const;
    expect([0, 1, 2].map((attrIndex) => kindOf(stage1(attrIndex), va))).toEqual(['cached', 'uncached', 'uncached']);
  });
});
