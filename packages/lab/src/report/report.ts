import type { Granule, Level } from '@granule/geometry';
import type { CostBracket } from '../cost/bracket.js';
import type { CostEstimate } from '../cost/estimate.js';
import type { Counts } from './counts.js';

/**
 * What a run of a scenario yields, `granule-report/1`: plain JSON, closed (docs/schemas/granule-report-1.json). Addresses and values are `0x…` texts,
 * sizes bytes, counts exact numbers.
 */
export interface RunReport {
  readonly schema: 'granule-report/1';
  readonly scenario: ScenarioName;
  /** At least one, in the scenario's order; several are the same steps under different settings, side by side. */
  readonly variants: readonly VariantReport[];
  /** Measured totals held between the costs of two variants; `phase` absent: of the whole runs. */
  readonly brackets: readonly (CostBracket & { readonly phase?: string })[];
  /** Over all variants. */
  readonly totals: {
    readonly expectations: { readonly passed: number; readonly total: number };
    readonly violations: number;
  };
  /** No expectation failed, and no violation but those that the scenario expects. */
  readonly clean: boolean;
}

export interface ScenarioName {
  readonly name: string;
  /** One sentence: what is asked. */
  readonly question?: string;
  /** The file it was read from, as the user named it. */
  readonly file?: string;
  /** What its numbers rest on: functions, clauses, threads. */
  readonly sources: readonly string[];
}

/**
 * How much of the machine ran. `policy`: the hypervisor's calls on the tables, effects counted. `judged`: the judge of cache-tlb watches these effects as
 * well. `machine`: PEs with TLBs and caches execute the guest's accesses.
 */
export type Fidelity = 'policy' | 'judged' | 'machine';

/** One run of the steps. */
export interface VariantReport {
  readonly name: string;
  /** What is set otherwise than in the scenario itself: `invalidation: vm-wide`. */
  readonly settings: Readonly<Record<string, string>>;
  readonly fidelity: Fidelity;
  readonly machine: MachineReport;
  readonly geometry: GeometryReport;
  /** Of the whole run. */
  readonly counts: Counts;
  /** At the end. */
  readonly tables: TablesReport;
  /** At the end; by level, then type. */
  readonly mappings: readonly MappingCount[];
  /** One for each named step, in order. */
  readonly phases: readonly PhaseReport[];
  readonly reads: readonly GuestRead[];
  readonly moreReads: number;
  /** Of a guest that is a hypervisor. */
  readonly nested?: NestedReport;
  readonly violations: readonly ViolationReport[];
  readonly moreViolations: number;
  readonly expectations: readonly ExpectationReport[];
  /** One for each cost profile that the run was given. */
  readonly costs: readonly CostEstimate[];
  /** Why the run ended before its last step. */
  readonly stopped?: { readonly phase: string; readonly id: string; readonly sentence: string; readonly source: string };
  /** What is true of this run and would surprise a reader. */
  readonly notes: readonly string[];
}

export interface MachineReport {
  /** Name of the backend. */
  readonly backend: string;
  /** Version of the kernel profile. */
  readonly kernel: string;
  readonly host: { readonly granule: Granule; readonly vaBits: number };
  /** Names of the features that are on and matter to the policy: `s2fwb`, `tlbirange`, `ttl`, `dic` … */
  readonly features: readonly string[];
  readonly pes: number;
  readonly vcpus: number;
  readonly invalidation: string;
  readonly maintenance: string;
  /** Smallest cache line that maintenance goes by, bytes: data, instruction (CTR_EL0). */
  readonly lines: { readonly data: number; readonly instruction: number };
}

/** What was chosen, under the names of `granule-geometry/1`. */
export interface GeometryReport {
  readonly granule: Granule;
  readonly ipaBits: number;
  readonly paBits: number;
  readonly startLevel: Level;
  readonly levels: number;
  readonly entryTables: number;
  readonly entryBytes: number;
  readonly entryAlignment: number;
  readonly vtcr: string;
}

/** Table pages, entry tables included. */
export interface TablesReport {
  readonly now: TableSize;
  readonly peak: TableSize;
}
export interface TableSize {
  readonly pages: number;
  readonly bytes: number;
}

export interface MappingCount {
  readonly level: Level;
  /** Memory type as a dump prints it: `normal`, `device-nGnRE`. */
  readonly type: string;
  /** `RWX`, `R--`, … as a dump prints it. */
  readonly permissions: string;
  readonly leaves: number;
  readonly bytes: number;
}

export interface PhaseReport {
  readonly name: string;
  /** What happened during the phase alone. */
  readonly counts: Counts;
  /** When it ended; `peak` within it. */
  readonly tables: TablesReport;
  readonly mappings: readonly MappingCount[];
  readonly costs: readonly CostEstimate[];
}

/** What a guest saw. */
export interface GuestRead {
  readonly phase: string;
  readonly pe: number;
  readonly vcpu: number;
  /** The address as the guest used it. */
  readonly address: string;
  readonly bytes: number;
  readonly value: string;
  readonly expected?: string;
}

/** Shadow stage 2s. */
export interface NestedReport {
  /** What contexts are found by. */
  readonly key: string;
  /** At the end, in the order of the pool. */
  readonly contexts: readonly ContextReport[];
  /** Addresses of nested guests that the scenario asks about. */
  readonly chains: readonly ChainReport[];
}

export interface ContextReport {
  readonly context: number;
  readonly valid: boolean;
  readonly vmid: number;
  /** VTTBR_EL2.BADDR; empty: the nested guest's stage 2 is off. */
  readonly table: string;
  readonly vtcr: string;
  readonly pendingUnmap: boolean;
  /** vCPUs that hold it. */
  readonly references: number;
  /** Valid leaves of the shadow. */
  readonly leaves: number;
}

/** One address of a nested guest through all tables, at one moment. */
export interface ChainReport {
  readonly phase: string;
  readonly vcpu: number;
  readonly context: number;
  readonly address: string;
  readonly standing: 'composed' | 'absent' | 'stale';
  readonly why: string;
  /** The guest hypervisor's entry, the VM's own, the shadow's, in words. */
  readonly tables: readonly string[];
  /** What made and removed the shadow's entry, oldest first. */
  readonly history: readonly string[];
}

/** A broken rule: of the architecture, found by the judge or by an access; or of the policy's own. */
export interface ViolationReport {
  readonly from: 'judge' | 'access' | 'policy';
  readonly id: string;
  readonly sentence: string;
  /** Clause or function. */
  readonly source: string;
  /** The first event to blame, and the one at which it can no longer be made good; numbered from 1 as in the event log. */
  readonly cause?: EventReport;
  readonly exposed?: EventReport;
  readonly address: string;
  /** Addresses for which the same event broke the same rule. */
  readonly count: number;
  /** The scenario says that it must be found. */
  readonly expected: boolean;
}
export interface EventReport {
  readonly event: number;
  /** The phase in which it happened. */
  readonly phase: string;
  /** The event in words. */
  readonly text: string;
}

export interface ExpectationReport {
  /** Absent: of the whole run. */
  readonly phase?: string;
  /** What is looked at: `tlbi leaf`. */
  readonly what: string;
  readonly expected: string;
  readonly actual: string;
  readonly passed: boolean;
  /** What the expectation rests on. */
  readonly source?: string;
}
