import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { armv8 } from '@granule/armv8';
import type { ByteSource } from '@granule/contract';
import { bytesSource } from '@granule/memory';
import { type DecodedEvent, traceText } from '@granule/snapshot';
import { describe, expect, it } from 'vitest';
import { causesText, replayCauses, type CausesReport, type RunFiles } from '../src/index.js';
import { valueOf } from './support.js';

const A = '../../../../apps/granule/data/A-4k-a76';
const folder = (run: string): string => join(import.meta.dirname, 'data', run);

/** The files of a run; some replaced by texts, `undefined` taken away. */
function filesOf(run: string, instead: Readonly<Record<string, string | undefined>> = {}): RunFiles {
  return {
    open(name): ByteSource | undefined {
      if (Object.hasOwn(instead, name)) {
        const text = instead[name];
        return text === undefined ? undefined : bytesSource(new TextEncoder().encode(text));
      }
      const path = join(folder(run), name);
      return existsSync(path) ? bytesSource(readFileSync(path)) : undefined;
    },
  };
}

const traceOf = (run: string): string => gunzipSync(readFileSync(join(folder(run), 'end.trace.txt.gz'))).toString();
const replay = (run: string, instead?: Readonly<Record<string, string | undefined>>) =>
  replayCauses({ files: filesOf(run, instead), backends: { armv8 } });
const report = (run: string, trace?: string): CausesReport => valueOf(replay(run, trace === undefined ? {} : { 'end.trace.txt': trace }));

/** Events of a trace by name, counted without any of our readers. */
function eventCounts(run: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [, name] of traceOf(run).matchAll(/\d\.\d{6}: (\w+):/gu)) {
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

/** Names that are causes, answers, the guest's and the VMM's own doings, or come at a time of RCU's choice. */
const NOT_CALLS =
  /_ret$|^tracing_mark_write$|^kvm_(?:guest_fault|exit|entry|userspace_exit|handle_sys_reg|sys_access|unmap_hva_range|age_hva|arm_\w+)$|^s2_free_unlinked$/u;

/** Runs, with the calls and mappings that they have. */
const RUNS = [
  [A, 1850, 447],
  ['A-4k-max', 885, 447],
  ['A-612-a76', 1091, 438],
  ['B-4k-a76', 1945, 929],
  ['C-4k-a76', 1810, 339],
  ['E-4k-nvhe', 1828, 444 + 2 * 531],
  ['T-4k-a76', 45, 16],
  ['Y-4k-a76', 1119, 667],
] as const;

describe.each(RUNS)('%s', (run, calls, mappings) => {
  const found = report(run);

  it("the policy makes the kernel's calls, with its arguments, in its order, and its table is the kernel's", () => {
    expect(found.differences).toEqual([]);
    expect(found.totals).toMatchObject({ calls: { equal: calls, total: calls }, mappings: { equal: mappings, total: mappings } });
    expect(found.exact).toBe(true);
    expect(causesText(found).trim().split('\n').at(-1)).toMatch(/^([\d,]+) of \1 calls, ([\d,]+) of \2 mappings equal$/);
  });

  it('every event of the trace that tells a call is accounted for', () => {
    const expected = Object.entries(eventCounts(run)).filter(([name]) => !NOT_CALLS.test(name));
    expect(Object.fromEntries(Object.entries(found.calls).map(([name, { total }]) => [name, total]))).toEqual(Object.fromEntries(expected));
  });

  it("the answers are the kernel's, and so is VTCR_EL2", () => {
    const { equal, total } = found.totals.answers;
    expect(equal).toBe(total);
    expect(total).toBeGreaterThan(9);
    expect(found.vtcr.ours).toBe(found.vtcr.kernel);
    expect(found.vmid).toEqual({ ours: 1, kernel: 1 });
    expect(found.violations).toEqual([]);
  });
});

describe('what a run cannot tell', () => {
  it('is given, and counted: of 227 mappings 9 are of devices, whose addresses are predicted', () => {
    expect(report(A).given).toEqual({ 'physical address': 218, 'host writability': 111, 'host page size': 18 });
  });

  it('and what was not probed is undetermined', () => {
    expect(report('E-4k-nvhe').undetermined.map(({ what, count }) => [what, count])).toEqual([
      ['calls of flush_cpu_context', 1],
      ['calls of flush_vmid_ipa', 3],
      ['calls of flush_vmid_ipa_nsh', 8],
      ['hyp mapping of the kernel', 525],
      ['object of the kernel', 2],
      ['cache state', 6],
    ]);
    expect(report('A-4k-max').undetermined).toEqual([]);
  });

  it('does not include the dirty log', () => {
    const { dirtyPages } = report('B-4k-a76').totals;
    expect(dirtyPages).toEqual({ equal: 198, total: 198 });
  });
});

describe('cache maintenance', () => {
  it('of data is there without S2FWB and absent with it', () => {
    expect(report(A).calls['dcache_clean_inval_poc']).toEqual({ equal: 738, total: 738 });
    expect(report('A-4k-max').calls['dcache_clean_inval_poc']).toBeUndefined();
  });
});

describe('D-16k36-T, a kernel whose huge-page adjustment masks with PTRS_PER_PMD − 1', () => {
  const found = report('D-16k36-T');

  it('is reproduced call by call and leaf by leaf', () => {
    expect(found.totals).toMatchObject({ calls: { equal: 8225, total: 8225 }, mappings: { equal: 6154, total: 6154 } });
    expect(found.differences).toEqual([]);
  });

  it('breaks the rules of slots and backing, and is named for it', () => {
    expect(found.violations.map(({ id, sentence }) => [id, sentence.split(' ')[2]])).toEqual([
      ['map.outside-backing', '0x0000000040504000-0x0000000042504000'],
      ['map.outside-slot', '0x0000000042d00000-0x0000000044d00000'],
      ['map.outside-backing', '0x0000000042d00000-0x0000000044d00000'],
    ]);
    expect(found.exact).toBe(false);
  });
});

describe("the policy's own tracepoints", () => {
  it.each([A, 'A-612-a76', 'E-4k-nvhe', 'C-4k-a76'])('%s: set/way and toggle events are, in order and to the letter, those that the kernel printed', (run) => {
    const ours: string[] = [];
    const onCall = ({ event, fields }: { readonly event: string; readonly fields: object }): void => {
      if (event === 'kvm_set_way_flush' || event === 'kvm_toggle_cache') ours.push(`${event}: ${traceText({ event, fields } as DecodedEvent)}`);
    };
    valueOf(replayCauses({ files: filesOf(run), backends: { armv8 }, onCall }));
    const theirs = [...traceOf(run).matchAll(/(kvm_(?:set_way_flush|toggle_cache): (?:S\/W|VM) .*)$/gmu)].map(([, text]) => text);
    expect(ours).toEqual(theirs);
    expect(ours.length).toBeGreaterThan(run === 'C-4k-a76' ? -1 : 8);
  });
});

describe('a kernel that did something else', () => {
  const T = traceOf('T-4k-a76');
  const first = (trace: string) => report('T-4k-a76', trace).differences[0];
  const without = (pattern: RegExp): string => {
    const lines = T.split('\n');
    lines.splice(lines.findIndex((line) => pattern.test(line)), 1);
    return lines.join('\n');
  };

  it.each([
    ['did not clean a page', without(/ clean_dcache_guest_page: /), 'missing', 'clean_dcache_guest_page'],
    ['unmapped another range', T.replace(/(s2_unmap: .*size=)0x1000/u, '$10x2000'), 'arguments', 's2_unmap'],
    ['flushed another level', T.replace(/(flush_vmid_ipa: .*level=)3/u, '$12'), 'arguments', 'flush_vmid_ipa'],
    ['mapped a page executable', T.replace(/(addr=0x8009f000 .*prot=)0xc/u, '$10xf'), 'arguments', 's2_map'],
    ['mapped hugetlb or small pages otherwise', T.replace(/(addr=0x8009f000 size=)0x1000/u, '$10x2000'), 'arguments', 's2_map'],
    ['mapped elsewhere', T.replace(/addr=0x8009f000/u, 'addr=0x8009e000'), 'arguments', 's2_map'],
    ['answered otherwise', T.replace(/(kvm_pgtable_stage2_map\) ret=)0/u, '$1-11'), 'answer', 's2_map'],
    ['cleaned other memory', T.replace(/(dcache_clean_inval_poc: .*start=)0xffff00000096f000/u, '$10xffff00000096e000'), 'arguments', 'dcache_clean_inval_poc'],
  ])('%s: told by its first difference', (_, trace, what, operation) => {
    expect(trace).not.toBe(T);
    expect(first(trace)).toMatchObject({ what, operation });
  });

  it.each(['s2_unmap', 'flush_vmid_ipa', 'nested_s2_unmap', 'kvm_toggle_cache', 's2_flush'])('left out one of its calls of %s', (name) => {
    const lines = traceOf(A).split('\n');
    lines.splice(lines.findIndex((line) => line.includes(` ${name}: `)), 1);
    expect(report(A, lines.join('\n')).differences[0]).toMatchObject({ what: 'missing', operation: name });
  });

  it('gave one host page two physical addresses without a notifier between: the second one is predicted', () => {
    const b = traceOf('B-4k-a76');
    const changed = b.replace(/([^]*addr=0x400000000 size=0x40000000 phys=)0x80000000/u, '$10xc0000000');
    expect(changed).not.toBe(b);
    expect(report('B-4k-a76', changed).differences[0]).toMatchObject({ what: 'arguments', operation: 's2_map' });
  });

  it('gave a huge page at an address that none can have', () => {
    const changed = T.replace(/phys=0x45000000/u, 'phys=0x45001000');
    expect(report('T-4k-a76', changed).differences.map(({ what }) => what)).toContain('given');
  });
});

describe('a run that cannot be replayed by causes', () => {
  it('without steps.json is refused', () => {
    expect(replay('T-4k-a76', { 'steps.json': undefined })).toMatchObject({ kind: 'refused', id: 'replay.no-steps' });
  });

  it('with several stage-2 tables and no virtual EL2 is not modelled', () => {
    const trace = traceOf('T-4k-a76').replace(/^.*s2_init.*$/mu, (line) => `${line}\n${line}`);
    expect(replay('T-4k-a76', { 'end.trace.txt': trace })).toMatchObject({ kind: 'not-modelled', id: 'replay.nested' });
  });
});
