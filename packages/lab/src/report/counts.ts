import type { AccessType, CmoEffect, DsbDomain, FaultType } from '@granule/contract';
import type { Level } from '@granule/geometry';

/**
 * What an invalidation names. `ipa`: stage-2 entries of one IPA; `ipa-range`; `stage1`: all of stage 1 of the VMID; `vmid`: both stages of the VMID; `all`:
 * every VMID, or all of EL2; `va`, `va-range`, `asid`: stage 1 by address or ASID.
 */
export type TlbiScope = 'ipa' | 'ipa-range' | 'stage1' | 'vmid' | 'all' | 'va' | 'va-range' | 'asid';

/**
 * What an invalidation is owed for: a leaf or a table entry, written in the same maintenance sequence; an invalidation of stage 2 just before (`stage2`: of
 * what combined entries hold); or nothing that the sequence shows (a flush of its own, a guest's invalidation).
 */
export type TlbiReason = 'leaf' | 'table' | 'stage2' | 'none';

export interface TlbiCount {
  /** Architectural name. */
  readonly op: string;
  readonly scope: TlbiScope;
  readonly reason: TlbiReason;
  readonly pe: number;
  readonly count: number;
}

export interface CmoCount {
  readonly op: CmoEffect['op'];
  readonly to: CmoEffect['to'];
  /** Ranges that maintenance was asked for: one for each leaf. */
  readonly count: number;
  readonly bytes: number;
  /** Cache lines in them, one instruction each; operations on a whole cache, or by set and way, count 1. */
  readonly lines: number;
}

/** Faults of the architecture that guests took, at whatever stage. */
export interface FaultCount {
  readonly type: FaultType;
  readonly stage: 1 | 2;
  readonly level: Level;
  readonly access: AccessType;
  readonly count: number;
}

/**
 * What was done to the machine, by kind; plain JSON. Nothing is listed with a count of 0. Lists and names are in the order of first use.
 */
export interface Counts {
  readonly tlbis: readonly TlbiCount[];
  readonly cmos: readonly CmoCount[];
  readonly barriers: Readonly<Partial<Record<`dsb.${DsbDomain}` | 'isb', number>>>;
  readonly faults: readonly FaultCount[];
  /** What the policy made of aborts: `mapped`, `relaxed`, `made-young`, `mmio.read`, `mmio.write`, `injected.external-data-abort`, `skipped`, `retry` … */
  readonly answers: Readonly<Record<string, number>>;
  /** Trapped register accesses and instructions, by name. */
  readonly traps: Readonly<Record<string, number>>;
  /** Calls of the policy on the page tables and events around them, under the names of Linux: `s2_map`, `unmap_stage2_range`. */
  readonly calls: Readonly<Record<string, number>>;
  /** Descriptors written. */
  readonly writes: number;
  readonly tablePages: { readonly taken: number; readonly freed: number };
  /** Accesses that guests made. */
  readonly accesses: number;
}

/**
 * The same counts under flat names, for expectations: `tlbi` (all), `tlbi.IPAS2E1IS`, `tlbi.leaf`, `tlbi.table` (by what they are owed for), `tlbi.ipa`,
 * `tlbi.vmid` (by scope), `tlbi.ipa.table` (by both), `tlbi.pe1`; `dsb`, `dsb.ish`, `isb`; `cmo.dc-civac` (ranges), `cmo.dc-civac.bytes`, `cmo.dc-civac.lines`; `fault`,
 * `fault.permission`, `fault.permission.level3`, `fault.stage2`; `answer.mmio.read`; `trap`, `trap.SCTLR_EL1`; `call.s2_map`; `writes`, `tables.taken`,
 * `tables.freed`, `accesses`. What did not occur is not there.
 */
export function namedCounts(counts: Counts): Readonly<Record<string, number>> {
  const named: Record<string, number> = {};
  const count = (by: number, ...names: readonly string[]): void => {
    for (const name of by > 0 ? names : []) {
      named[name] = (named[name] ?? 0) + by;
    }
  };
  for (const { op, scope, reason, pe, count: by } of counts.tlbis) {
    count(by, 'tlbi', `tlbi.${op}`, `tlbi.${scope}`, `tlbi.${scope}.${reason}`, `tlbi.pe${pe}`, ...(reason === 'leaf' || reason === 'table' ? [`tlbi.${reason}`] : []));
  }
  for (const [name, by] of Object.entries(counts.barriers)) {
    count(by, name, ...(name === 'isb' ? [] : ['dsb']));
  }
  for (const { op, count: by, bytes, lines } of counts.cmos) {
    count(by, 'cmo', `cmo.${op}`);
    count(bytes, `cmo.${op}.bytes`);
    count(lines, `cmo.${op}.lines`);
  }
  for (const { type, stage, level, count: by } of counts.faults) {
    count(by, 'fault', `fault.${type}`, `fault.${type}.level${level}`, `fault.stage${stage}`);
  }
  Object.entries(counts.answers).forEach(([name, by]) => count(by, `answer.${name}`));
  Object.entries(counts.traps).forEach(([name, by]) => count(by, 'trap', `trap.${name}`));
  Object.entries(counts.calls).forEach(([name, by]) => count(by, `call.${name}`));
  count(counts.writes, 'writes');
  count(counts.tablePages.taken, 'tables.taken');
  count(counts.tablePages.freed, 'tables.freed');
  count(counts.accesses, 'accesses');
  return named;
}
