import { bracket } from '../cost/bracket.js';
import { estimate } from '../cost/estimate.js';
import type { CostProfile } from '../cost/profile.js';
import type { Counts } from './counts.js';
import type { PhaseReport, RunReport, ScenarioName, VariantReport } from './report.js';

/** A variant as its run yields it: what it cost is added here. */
export interface VariantRun extends Omit<VariantReport, 'costs' | 'phases'> {
  readonly phases: readonly Omit<PhaseReport, 'costs'>[];
}

/** A measured total of the whole runs, or of one phase, and the two variants to hold it between. */
export interface MeasuredTotal {
  readonly ns: number;
  readonly source: string;
  readonly profile: CostProfile;
  readonly between: readonly [variant: string, variant: string];
  readonly phase?: string;
  /** Default 1. */
  readonly parts?: number;
}

export interface ReportParts {
  readonly scenario: ScenarioName;
  readonly variants: readonly VariantRun[];
  readonly profiles: readonly CostProfile[];
  readonly measured: readonly MeasuredTotal[];
}

/** Puts the report together: costs, brackets, totals and the verdict. Names of variants and phases must be there. */
export function assembleReport({ scenario, variants, profiles, measured }: ReportParts): RunReport {
  const costs = (counts: Counts): VariantReport['costs'] => profiles.map((profile) => estimate(profile, counts));
  const priced = variants.map((variant): VariantReport => ({
    ...variant,
    costs: costs(variant.counts),
    phases: variant.phases.map((phase) => ({ ...phase, costs: costs(phase.counts) })),
  }));
  const expectations = priced.flatMap((variant) => variant.expectations);
  const passed = expectations.filter((each) => each.passed).length;
  const violations = priced.reduce((sum, variant) => sum + variant.violations.length + variant.moreViolations, 0);
  const unexpected = priced.some((variant) => variant.moreViolations > 0 || variant.violations.some(({ expected }) => !expected));
  return {
    schema: 'granule-report/1',
    scenario,
    variants: priced,
    brackets: measured.map((each) => bracketOf(each, priced)),
    totals: { expectations: { passed, total: expectations.length }, violations },
    clean: passed === expectations.length && !unexpected && priced.every(({ stopped }) => stopped === undefined),
  };
}

function bracketOf({ ns, source, profile, between, phase, parts }: MeasuredTotal, variants: readonly VariantReport[]): RunReport['brackets'][number] {
  const policy = (name: string): { readonly name: string; readonly counts: Counts } => {
    const variant = variants.find((each) => each.name === name);
    const part = phase === undefined ? variant : variant?.phases.find((each) => each.name === phase);
    if (part === undefined) {
      throw new RangeError(`no variant ${name}${phase === undefined ? '' : ` with a phase ${phase}`}`);
    }
    return { name, counts: part.counts };
  };
  const found = bracket(profile, { ns, source }, [policy(between[0]), policy(between[1])], parts);
  return phase === undefined ? found : { phase, ...found };
}
