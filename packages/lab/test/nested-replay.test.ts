import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { armv8 } from '@granule/armv8';
import type { ByteSource } from '@granule/contract';
import { bytesSource } from '@granule/memory';
import { describe, expect, it } from 'vitest';
import { causesText, replayCauses, type CausesReport, type RunFiles } from '../src/index.js';
import { valueOf } from './support.js';

type Texts = Readonly<Record<string, string | undefined>>;

const folder = (run: string): string => join(import.meta.dirname, run === 'G-4k-v2' ? '../../../apps/granule/data' : 'data/replay', run);

/** The files of a run; some replaced by texts, `undefined` taken away. A name stands for its gzip too. */
function filesOf(run: string, instead: Texts): RunFiles {
  return {
    open(name): ByteSource | undefined {
      const plain = name.replace(/\.gz$/u, '');
      if (Object.hasOwn(instead, plain)) {
        const text = instead[plain];
        return text === undefined || name !== plain ? undefined : bytesSource(new TextEncoder().encode(text));
      }
      const path = join(folder(run), name);
      return existsSync(path) ? bytesSource(readFileSync(path)) : undefined;
    },
  };
}

const textOf = (run: string, name: string): string => gunzipSync(readFileSync(join(folder(run), `${name}.gz`))).toString();
const replay = (run: string, instead: Texts = {}, until?: string) =>
  replayCauses({ files: filesOf(run, instead), backends: { armv8 }, ...(until === undefined ? {} : { until }) });
const report = (run: string, instead: Texts = {}): CausesReport => valueOf(replay(run, instead));
const last = (found: CausesReport): readonly string[] => causesText(found).trim().split('\n').slice(-2);

/** Events that are causes, answers, or the VMM's and the guest's own doings. */
const NOT_CALLS = /^(?:s2_map_ret|tracing_mark_write|kvm_(?:guest_fault|exit|userspace_exit|handle_sys_reg|sys_access|unmap_hva_range|hvc_arm64|nested_eret|inject_nested_exception))$/u;

/** Events of a trace by name, counted without any of our readers. */
function eventCounts(run: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [, name] of textOf(run, 'end.trace.txt').matchAll(/\d\.\d{6}: (\w+):/gu)) {
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

const CHECKPOINTS = ['c20', 'c1', 'c2', 'c3', 'c4', 'c5', 'c23', 'c6', 'c21', 'c10', 'c7', 'c8', 'c9', 'c22'];

describe.each(['G-4k-v2', 'G-4k-v3'])('%s, by its causes and the op list of the guest hypervisor', (run) => {
  const found = report(run);

  it("the policy makes the kernel's calls, with its arguments and its choice of shadow, and every table is the kernel's at every checkpoint", () => {
    expect(found.differences).toEqual([]);
    expect(found.checkpoints.map(({ name }) => name)).toEqual(CHECKPOINTS);
    expect(found.checkpoints.flatMap(({ problems }) => problems)).toEqual([]);
    expect(found.totals).toMatchObject({
      calls: { equal: 1048, total: 1048 }, mappings: { equal: 1146, total: 1146 }, shadowMappings: { equal: 437, total: 437 }, answers: { equal: 186, total: 186 },
    });
    expect(found.exact).toBe(true);
    expect(last(found)).toEqual(['437 of 437 shadow mappings equal', '1,048 of 1,048 calls, 1,146 of 1,146 mappings equal']);
  });

  it('every event that tells a call is accounted for; an exception to virtual EL2 is one where it forwards a fault', () => {
    const expected = Object.entries(eventCounts(run)).filter(([name]) => !NOT_CALLS.test(name));
    const { kvm_inject_nested_exception: forwarded, ...calls } = Object.fromEntries(Object.entries(found.calls).map(([name, { total }]) => [name, total]));
    expect(calls).toEqual(Object.fromEntries(expected));
    expect(forwarded).toBe(2);
  });

  it("the op list builds the tables that lie in the guest hypervisor's memory", () => {
    expect(found.nested).toMatchObject({ hypervisor: 'ops.txt', guestEntries: { equal: 13_117, total: 13_117 }, contexts: { equal: 10, total: 10 } });
  });

  it("the shadows have the kernel's VTCR_EL2 and VMIDs", () => {
    const shadows = [2, 3, 4, 5].map((vmid, i) => ({
      number: i + 1, vtcr: { ours: '0x800d3590', kernel: '0x800d3590' }, vmid: { ours: vmid, kernel: vmid },
    }));
    expect(found.nested?.shadows).toMatchObject(shadows);
    expect(found.vtcr).toEqual({ ours: '0x800d3558', kernel: '0x800d3558' });
  });

  it('only what the filter of the trace hides is undetermined', () => {
    expect(found.undetermined.map(({ count, what }) => [count, what])).toEqual([[19, 'calls of s2_unmap, s2_wrprotect or s2_flush over 32 MiB and more']]);
  });
});

describe('a run without the op list of its guest hypervisor', () => {
  const found = report('G-4k-v2', { 'ops.txt': undefined });

  it('is replayed by what the checkpoints show, and says what that leaves open', () => {
    expect(found.nested).toMatchObject({ hypervisor: 'checkpoints', why: 'the run has no ops.txt', contexts: { equal: 10, total: 10 } });
    expect(found.undetermined.map(({ count, what }) => [count, what])).toEqual([
      [19, 'calls of s2_unmap, s2_wrprotect or s2_flush over 32 MiB and more'],
      [4, 'TLB invalidations of the guest hypervisor'],
      [4, 'faults of a nested guest'],
    ]);
  });

  it('is exact in all the rest', () => {
    expect(found.differences).toEqual([]);
    expect(found.totals).toMatchObject({ calls: { equal: 1034, total: 1034 }, shadowMappings: { equal: 437, total: 437 } });
  });

  it('is the same where the op list does not explain the memory', () => {
    const ops = textOf('G-4k-v2', 'ops.txt').replace('S2MAP 0x20000000 0x418007fd 0xc0002', 'S2MAP 0x20000000 0x41a007fd 0xc0002');
    const other = report('G-4k-v2', { 'ops.txt': ops });
    expect(other.nested?.why).toMatch(/^by ops\.txt the guest hypervisor's entry at IPA 0x[\da-f]{16} is 0x0+41a007fd at c6, and its memory has 0x0+418007fd$/u);
    expect(other.totals.shadowMappings).toEqual({ equal: 437, total: 437 });
  });

  it('or does not fit the actions of the trace', () => {
    const ops = textOf('G-4k-v2', 'ops.txt').replace('TLBI 0 0 0x1000000000000\n', '');
    expect(report('G-4k-v2', { 'ops.txt': ops }).nested?.why).toMatch(/^Line \d+ of ops\.txt has L2RUN where the trace has another action\.$/u);
  });

  it('tells the entry whose context no checkpoint shows', () => {
    const unseen = report('G-4k-v2', { 'ops.txt': undefined, 'c10.regs.json': undefined });
    expect(unseen.undetermined).toContainEqual(expect.objectContaining({ what: 'faults of a nested guest', count: 14 }));
    expect(unseen.checkpoints.find(({ name }) => name === 'c7')?.tables.every(({ exact }) => exact)).toBe(true);
  });
});

describe('a kernel that did something else', () => {
  const trace = textOf('G-4k-v2', 'end.trace.txt');
  // All of them lie before c6: nothing behind it is replayed.
  const first = (changed: string) => {
    expect(changed).not.toBe(trace);
    return valueOf(replay('G-4k-v2', { 'end.trace.txt': changed }, 'c6')).differences[0];
  };
  const shadow = '0xffff0000048edd40';

  it.each([
    ['found another context', trace.replace('lookup_s2_mmu) mmu=0xffff0000048fe488', 'lookup_s2_mmu) mmu=0xffff0000048fe400'), 'arguments', 'lookup_s2_mmu_ret'],
    ['mapped into the VM’s own table', trace.replace(`pgt=${shadow} addr=0x20200000`, 'pgt=0xffff0000048edd80 addr=0x20200000'), 'arguments', 's2_map'],
    ['noted another level', trace.replace('prot=0x100000000000008', 'prot=0x180000000000008'), 'arguments', 's2_map'],
    ['gave more than the guest hypervisor', trace.replace('prot=0x100000000000008', 'prot=0x10000000000000c'), 'arguments', 's2_map'],
    ['mapped a block where the guest hypervisor has a page', trace.replace('addr=0x10000000 size=0x1000', 'addr=0x10000000 size=0x200000'), 'arguments', 's2_map'],
    ['forwarded another syndrome', trace.replace('esr_el2 0x93c1804e', 'esr_el2 0x93c1804f'), 'arguments', 'kvm_inject_nested_exception'],
    ['unmapped less for a TLBI', trace.replace(/(unmap_stage2_range: .*start=0x20000000 size=)0x200000/u, '$10x1000'), 'arguments', 'unmap_stage2_range'],
    ['forgot a context of the VMID', trace.replace(/^.*unmap_stage2_range: .*mmu=0xffff0000048fe288 start=0x20000000.*\n/mu, ''), 'missing', 'unmap_stage2_range'],
    ['looked for another VMID', trace.replace('vmid=0x1', 'vmid=0x2'), 'arguments', 's2_mmu_iterate_by_vmid'],
    ['walked at another address', trace.replace('walk_nested_s2: (walk_nested_s2+0x0/0x44) ipa=0x20345000', 'walk_nested_s2: (walk_nested_s2+0x0/0x44) ipa=0x20344000')
      .replace(/(walk_nested_s2: \S+ ipa=)0x20345000/u, '$10x20344000'), 'arguments', 'walk_nested_s2'],
  ])('%s: told by its first difference', (_, changed, what, operation) => {
    expect(first(changed)).toMatchObject({ what, operation });
  });
});

describe('a nested run that is replayed up to a checkpoint', () => {
  it.each(['c20', 'c2', 'c4'])('%s: what only later checkpoints tell of the shadows is not held against it', (until) => {
    const found = valueOf(replay('G-4k-v2', {}, until));
    expect(found.checkpoints.at(-1)?.name).toBe(until);
    expect(found.exact, causesText(found)).toBe(true);
  });
});

describe('damaged files of a nested run end in one sentence', () => {
  it.each([
    ['a line that is no op', 'S2MAP zzz', 'refused', 'ops.line'],
    ['a table of no granule', '# L1 list\nNVROOT 0 0x1 0xd0002', 'refused', 'ops.operand'],
    ['no list of the guest hypervisor', '# L2 list 0 at 0x80050000\n', 'refused', 'ops.no-list'],
  ])('%s', (_, ops, kind, id) => {
    const outcome = replay('G-4k-v2', { 'ops.txt': ops });
    expect(outcome).toMatchObject({ kind, id });
    expect((outcome as { readonly sentence: string }).sentence).toMatch(/^ops\.txt\b.*\.$/u);
  });

  it('registers whose nested object is torn', () => {
    const torn = textOf('G-4k-v2', 'c1.regs.json').replace('"canonicalVTTBR_EL2": "0x10000440a0000"', '"canonicalVTTBR_EL2": 5');
    expect(replay('G-4k-v2', { 'c1.regs.json': torn })).toMatchObject({ kind: 'refused', id: 'json.field' });
  });

  it('a checkpoint that is not there', () => {
    expect(replay('G-4k-v2', {}, 'c99')).toMatchObject({ kind: 'refused', id: 'replay.no-checkpoint' });
  });
});
