import { describe, expect, it } from 'vitest';
import { COST_PROFILES } from '../../src/cost/profile.js';
import { assembleReport, type VariantRun } from '../../src/report/assemble.js';
import { reportHtml } from '../../src/report/html.js';
import type { RunReport } from '../../src/report/report.js';
import { reportText } from '../../src/report/text.js';
import { countsOf, invalidations, NOTHING } from './support.js';

const PAGE = 4096;
const size = (pages: number) => ({ pages, bytes: pages * PAGE });

/** A run by hand: maps eight blocks, then unmaps them. */
function variant(name: string, unmapped: VariantRun['counts'], some: Partial<VariantRun> = {}): VariantRun {
  const mapped = [{ level: 1, type: 'device-nGnRE', permissions: 'RW-', leaves: 8, bytes: 8 * 2 ** 30 }] as const;
  return {
    name,
    settings: {},
    fidelity: 'policy',
    machine: {
      backend: 'armv8', kernel: '7.2', host: { granule: '4K', vaBits: 48 }, features: ['ttl'], pes: 2, vcpus: 1,
      invalidation: name, maintenance: 'map-and-unmap', lines: { data: 64, instruction: 64 },
    },
    geometry: { granule: '4K', ipaBits: 40, paBits: 48, startLevel: 1, levels: 3, entryTables: 2, entryBytes: 8192, entryAlignment: 8192, vtcr: '0x802d3558' },
    counts: { ...unmapped, writes: unmapped.writes + 8 },
    tables: { now: size(2), peak: size(2) },
    mappings: [],
    phases: [
      { name: 'map', counts: countsOf({ writes: 8 }), tables: { now: size(2), peak: size(2) }, mappings: mapped },
      { name: 'reset', counts: unmapped, tables: { now: size(2), peak: size(2) }, mappings: [] },
    ],
    reads: [], moreReads: 0, violations: [], moreViolations: 0, expectations: [], notes: [],
    ...some,
  };
}

const EXPECTED = { what: 'tlbi.leaf', expected: '8', actual: '8', passed: true } as const;

function reportOf(variants: readonly VariantRun[], some: { readonly measured?: boolean; readonly name?: string } = {}): RunReport {
  const fpga = COST_PROFILES['fpga-2021'];
  const between = [variants[0].name, variants[variants.length - 1].name] as const;
  const measured = some.measured === true ? [{ ns: 949_000_000, source: 'thread 002', profile: fpga, between, phase: 'reset', parts: 8 }] : [];
  return assembleReport({ scenario: { name: some.name ?? 'device reset', question: 'What does it cost?', sources: ['§3f'] }, variants, profiles: [fpga], measured });
}

const TWO = [variant('each', invalidations(8, 0), { expectations: [EXPECTED] }), variant('by 2M', invalidations(4096, 8))];
const lines = (report: RunReport) => reportText(report).trimEnd().split('\n');

describe('the text of a report', () => {
  it('compares variants in a table of the counts that occur, aligned', () => {
    const text = lines(reportOf(TWO));
    const at = text.findIndex((line) => line.startsWith('variant'));
    expect(text.slice(at, at + 3)).toEqual([
      'variant  TLBI leaf  TLBI table  TLBI stage 1     DSB  writes  tables  peak',
      'each             8           0             8      24      16       2     2',
      'by 2M        4,096           8         4,104  12,312   4,112       2     2',
    ]);
  });

  it('says once what variants share, and whose is what they do not', () => {
    const text = lines(reportOf(TWO));
    expect(text).toContain('machine   armv8, Linux 7.2, 4K host pages, 48-bit VA; 2 PEs, 1 vCPU');
    expect(text).toContain('policy    invalidation each, maintenance map-and-unmap: each');
    expect(text).toContain('policy    invalidation by 2M, maintenance map-and-unmap: by 2M');
    expect(text).toContain('stage 2   4K granule, 40-bit IPA, 48-bit PA, start level 1, 2 entry tables, 8K aligned to 8K, VTCR 0x802d3558');
  });

  it('ends with the verdict', () => {
    expect(lines(reportOf(TWO)).at(-1)).toBe('clean: 2 variants, 1 of 1 expectation, no violation');
  });

  it('holds the measured total between the two costs, and says the mix', () => {
    expect(lines(reportOf(TWO, { measured: true })).join('\n')).toContain(
      [
        '949 ms measured for reset (thread 002): between each (at least 6.85 ms) and by 2M (at least 3.52 s) at the costs of fpga-2021.',
        'A mix gives it: at most 2.1481 of 8 parts under by 2M, the others under each; no other cost is fitted.',
        '2 of 8 under by 2M: at least 884 ms; it takes 949 ms where each costs 1.0735 times that.',
        '3 of 8 under by 2M: at least 1.32 s; it takes 949 ms where each costs 0.7175 times that, less than the lower bound allows.',
      ].join('\n'),
    );
  });

  it('shows what is broken with its events, and is not clean', () => {
    const violation = {
      from: 'judge', id: 'tlbi.missing', sentence: 'An unmapped page is still used.', source: 'DDI 0487 D8.17.1', address: '0x40000000', count: 3, expected: false,
      cause: { event: 12, phase: 'reset', text: 'write' }, exposed: { event: 15, phase: 'reset', text: 'access' },
    } as const;
    const failed = { what: 'tlbi.leaf', expected: '8', actual: '0', passed: false, phase: 'reset', source: '§3f' };
    const text = lines(reportOf([variant('elided', NOTHING, { violations: [violation], expectations: [failed] })]));
    expect(text).toContain(
      '! tlbi.missing at 0x40000000 and 2 more: An unmapped page is still used. Cause: event 12 (reset: write). Exposed: event 15 (reset: access). (DDI 0487 D8.17.1)',
    );
    expect(text).toContain('! reset: tlbi.leaf: 0, expected 8 (§3f)');
    expect(text.at(-1)).toBe('not clean: 0 of 1 expectation, 1 violation');
  });

  it('is clean with a violation that the scenario expects', () => {
    const violation = { from: 'judge', id: 'a.b', sentence: 'S.', source: 'C', address: '0x0', count: 1, expected: true } as const;
    expect(lines(reportOf([variant('elided', NOTHING, { violations: [violation] })])).at(-1)).toBe('clean: 0 of 0 expectations, 1 expected violation');
  });

  it('tells the phases of a single run apart', () => {
    const text = lines(reportOf([TWO[0]]));
    const at = text.findIndex((line) => line.startsWith('phase'));
    expect(text.slice(at, at + 4)).toEqual([
      'phase  TLBI leaf  TLBI stage 1  DSB  writes  tables  peak',
      'map            0             0    0       8       2     2',
      'reset          8             8   24       8       2     2',
      'all            8             8   24      16       2     2',
    ]);
  });
});

describe('the page of a report', () => {
  const page = reportHtml(reportOf(TWO, { measured: true }));

  it('needs nothing from anywhere, and runs no script', () => {
    expect(page).not.toMatch(/<script|<link|<img|@import|url\(|https?:/);
  });

  it('has a bar for each kind of invalidation of each variant, as long as the logarithm of its count', () => {
    const plot = /aria-label="TLB invalidations by variant"[\s\S]*?<\/svg>/.exec(page)?.[0] ?? '';
    const bars = [...plot.matchAll(/<rect x="(\S+)" y="\S+" width="(\S+)" \S+ class="s(\d)"><title>([\d,]+)<\/title>/g)].map(([, , width, series, label]) => ({
      width: Number(width), series: Number(series), count: Number(label.replace(',', '')),
    }));
    expect(bars.map(({ series, count }) => [series, count])).toEqual([[0, 8], [6, 8], [0, 4096], [1, 8], [6, 4104]]);
    // 8 to 4096 is nine doublings: each is as long as the others.
    const [eight, many] = [bars[0].width, bars[2].width];
    const fourThousand104 = bars[4].width;
    expect(fourThousand104 - many).toBeCloseTo(((many - eight) / 9) * Math.log2(4104 / 4096), 0);
    expect(bars[1].width).toBe(eight);
  });

  it('marks the measured total in the plot of costs', () => {
    expect(page).toContain('949 ms measured (reset)');
    expect(page).toContain('at least 3.52 s');
  });

  it('escapes whatever a scenario says', () => {
    const nasty = reportHtml(reportOf([variant('<b>&"', invalidations(8, 0))], { name: '</title><script>alert(1)</script>' }));
    expect(nasty).not.toContain('<script');
    expect(nasty).not.toContain('<b>');
  });

  it('closes what it opens', () => {
    for (const name of ['table', 'tr', 'td', 'svg', 'figure', 'div', 'dl', 'details', 'p', 'h2']) {
      const count = (pattern: RegExp) => [...page.matchAll(pattern)].length;
      expect(`${name} ${count(new RegExp(`<${name}[ >]`, 'g'))}`).toBe(`${name} ${count(new RegExp(`</${name}>`, 'g'))}`);
    }
  });
});
