import type { Verdict } from '@granule/cache-tlb';
import { hex } from '@granule/geometry/bits';
import { tablesReport, mappingCounts } from '../../report/vm-report.js';
import { namedCounts, type Counts } from '../../report/counts.js';
import type { VariantRun } from '../../report/assemble.js';
import type { ChainReport, ExpectationReport, GuestRead, ViolationReport } from '../../report/report.js';
import type { CountLimit, Expectation } from '../expectations.js';
import type { World } from './world.js';

type Phase = VariantRun['phases'][number];

/** Reads and violations that are listed one by one. */
const SHOWN = 32;

/** What a run finds on its way: phases, what guests read, what was expected. */
export class Findings {
  readonly phases: Phase[] = [];
  readonly reads: GuestRead[] = [];
  readonly expectations: ExpectationReport[] = [];
  /** What chains of nested addresses were asked for. */
  readonly chains: ChainReport[] = [];
  readonly notes = new Set<string>();
  moreReads = 0;

  constructor(private readonly world: World) {}

  /** A new phase; what came before the first is one without a name, where anything was counted in it. */
  phase(name: string): void {
    this.endPhase();
    this.world.recorder.nextPhase(name);
  }

  endPhase(): void {
    const { recorder, vm, down } = this.world;
    const { tally, phase } = recorder;
    const { counts, pages } = tally.phase();
    const named = phase !== '';
    if (named || Object.keys(namedCounts(counts)).some((each) => each !== 'tables.taken' && each !== 'call.s2_init')) {
      this.phases.push({ name: named ? phase : 'start', counts, tables: tablesReport(vm.format, pages), mappings: down ? [] : mappingCounts(vm.table) });
    }
    tally.nextPhase();
  }

  read(read: Omit<GuestRead, 'phase'>): void {
    if (this.reads.length < SHOWN) {
      this.reads.push({ phase: this.world.recorder.phase, ...read });
    } else {
      this.moreReads += 1;
    }
  }

  expect(what: string, expected: string, actual: string, more: Partial<ExpectationReport> = {}): void {
    const { phase } = this.world.recorder;
    this.expectations.push({ ...(phase === '' ? {} : { phase }), what, expected, actual, passed: expected === actual, ...more });
  }

  /** Counts of the phase so far. */
  expectCounts(limits: Readonly<Record<string, CountLimit>>, source: string | undefined): void {
    this.#counts(limits, this.world.recorder.tally.phase().counts, { phase: this.world.recorder.phase, ...(source === undefined ? {} : { source }) });
  }

  /** What is expected of the run as a whole; told after its last step. */
  expectEnd({ verdict, counts, leaves, tables, source }: Expectation, violations: readonly ViolationReport[], judged: boolean): void {
    const { recorder, vm, down } = this.world;
    const more = source === undefined ? {} : { source };
    const add = (what: string, expected: string, actual: string, passed = expected === actual): void =>
      void this.expectations.push({ what, expected, actual, passed, ...more });
    if (verdict !== undefined) {
      const found = [...new Set(violations.map(({ id }) => id))].sort();
      add('verdict', [verdict].flat().sort().join(', '), found.length > 0 ? found.join(', ') : judged ? 'clean' : 'not judged');
    }
    this.#counts(counts ?? {}, recorder.tally.total(), more);
    if (leaves !== undefined) {
      const found = down ? [] : mappingCounts(vm.table);
      for (const [level, expected] of Object.entries(leaves)) {
        const actual = found.filter((each) => each.level === Number(level)).reduce((sum, each) => sum + each.leaves, 0);
        add(`leaves of level ${level}`, String(expected), String(actual));
      }
    }
    if (tables !== undefined) {
      add('table pages', String(tables), String(recorder.tally.pages.now));
    }
  }

  #counts(limits: Readonly<Record<string, CountLimit>>, counts: Counts, more: Partial<ExpectationReport>): void {
    const named = namedCounts(counts);
    for (const [what, limit] of Object.entries(limits)) {
      const actual = named[what] ?? 0;
      const { min = 0, max = Infinity } = typeof limit === 'number' ? { min: limit, max: limit } : limit;
      const expected = typeof limit === 'number' ? String(limit) : [min > 0 ? `at least ${min}` : '', max < Infinity ? `at most ${max}` : ''].filter((each) => each !== '').join(', ');
      this.expectations.push({ what, expected, actual: String(actual), passed: actual >= min && actual <= max, ...more });
    }
  }
}

/** Violations of a run: the judge's, then the policy's own. */
export function violationReports(world: World, verdict: Verdict | undefined, wanted: Expectation['verdict']): { readonly shown: readonly ViolationReport[]; readonly more: number } {
  const { recorder, vm } = world;
  const expected = (id: string): boolean => [wanted ?? []].flat().includes(id);
  const judged = (verdict?.violations ?? []).map(({ rule, cause, exposed, address, count }): ViolationReport => ({
    from: /^(?:data|code|cache)\./.test(rule.id) ? 'access' : 'judge', id: rule.id, sentence: rule.sentence, source: rule.clause,
    cause: recorder.told(cause), exposed: recorder.told(exposed), address: hex(address), count, expected: expected(rule.id),
  }));
  const own = vm.violations.map(({ id, sentence, address }): ViolationReport => ({
    from: 'policy', id, sentence, source: 'granule: invariants of a VM', address: hex(address), count: 1, expected: expected(id),
  }));
  const others = (world.hypervisor?.others ?? []).map(({ id, sentence, address, cause, exposed, count }): ViolationReport => ({
    from: 'policy', id, sentence, source: 'Linux lookup_s2_mmu', cause: recorder.told(cause), exposed: recorder.told(exposed), address: hex(address), count, expected: expected(id),
  }));
  const all = [...judged, ...own, ...others];
  return { shown: all.slice(0, SHOWN), more: Math.max(0, all.length - SHOWN) };
}
