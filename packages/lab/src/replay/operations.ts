import { type AttributeRequest, type Outcome, done, notModelled, refused } from '@granule/contract';
import type { GranulePageTable } from '@granule/pgtable';
import { hypMap, hypUnmap } from '@granule/pgtable/hyp';
import type { TraceEventName, TraceFields } from '@granule/snapshot';
import type { PlacedTable } from './kernel-tables.js';
import { attributesOf, permissionsOf, type ProtLayout, softwareOf } from './prot.js';

/** An operation that may have changed a table, and the range that it named. */
export interface Touch {
  readonly operation: string;
  readonly trace: string;
  readonly line: number;
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

/** A table under replay. */
export interface LiveTable {
  readonly placed: PlacedTable;
  readonly table: GranulePageTable;
  readonly touches: Touch[];
  destroyed: boolean;
}

/** What a kernel does its own way. */
export interface KernelRules {
  readonly prot: ProtLayout;
  /** One object for each value of `prot`: the core keeps the leaf bits of the last one. */
  readonly attributes: Map<bigint, Outcome<AttributeRequest>>;
}

/** KVM_PGTABLE_WALK_SHARED, _SKIP_BBM_TLBI, _SKIP_CMO (Linux kvm_pgtable.h). */
const WALK_SHARED = 8;
const WALK_SKIP_BBM_TLBI = 0x20;
const WALK_SKIP_CMO = 0x40;

/** SCTLR_EL2.BT: EL2 uses branch target identification (DDI 0487 SCTLR_EL2; Linux ___kvm_hyp_init). */
const SCTLR_EL2_BT = 1n << 36n;

type Handler<N extends TraceEventName> = (on: LiveTable, fields: TraceFields<N>, rules: KernelRules) => Outcome<unknown>;

/** How the core does each operation that names its table by `pgt`. */
const HANDLERS = {
  s2_map: mapStage2,
  s2_unmap: ({ table }, { addr, size }) => table.unmap(addr, size, { mode: 'linux' }),
  s2_wrprotect: ({ table }, { addr, size }) => table.writeProtect(addr, size),
  s2_relax_perms: relax,
  s2_mkyoung: ({ table }, { addr }) => table.makeYoung(addr),
  s2_test_clear_young: ({ table }, { addr, size, mkold }) => table.age(addr, size, mkold !== 0),
  s2_flush: ({ table }, { addr, size }) => table.flush(addr, size),
  s2_split: split,
  s2_destroy_range: ({ table }, { addr, size }) => table.unmap(addr, size, { mode: 'linux', tlbi: 'none', skip: { cmo: true } }),
  s2_destroy_pgd: destroy,
  s2_annotate: () =>
    notModelled('replay.annotation', 'The trace does not tell what s2_annotate wrote.', 'Linux kvm_pgtable_stage2_annotate'),
  hyp_map: mapHyp,
  hyp_unmap: ({ table }, { addr, size }) => hypUnmap(table, addr, size),
} satisfies { readonly [N in TraceEventName]?: Handler<N> };

export type OperationName = keyof typeof HANDLERS;

export function isOperation(name: string): name is OperationName {
  return Object.hasOwn(HANDLERS, name);
}

/** Does one operation. */
export function perform<N extends OperationName>(on: LiveTable, name: N, fields: TraceFields<N>, rules: KernelRules): Outcome<unknown> {
  return (HANDLERS[name] as unknown as Handler<N>)(on, fields, rules);
}

function attributes(prot: bigint, rules: KernelRules): Outcome<AttributeRequest> {
  const known = rules.attributes.get(prot) ?? attributesOf(prot, rules.prot);
  rules.attributes.set(prot, known);
  return known;
}

function mapStage2({ table }: LiveTable, fields: TraceFields<'s2_map'>, rules: KernelRules): Outcome<unknown> {
  const { addr, size, phys, prot, flags = 0 } = fields;
  const request = attributes(prot, rules);
  if (request.kind !== 'done') {
    return request;
  }
  const has = (flag: number): boolean => Math.floor(flags / flag) % 2 === 1;
  const skip = { tlbi: has(WALK_SKIP_BBM_TLBI), cmo: has(WALK_SKIP_CMO) };
  return table.map(addr, size, phys, request.value, { mode: 'linux', shared: has(WALK_SHARED), skip });
}

/** Execution is set where it is asked for, and left alone where not. */
function relax({ table }: LiveTable, { addr, prot }: TraceFields<'s2_relax_perms'>, rules: KernelRules): Outcome<unknown> {
  if (softwareOf(prot) !== 0) {
    return refused('relax.software', 'prot has software bits, which are not permissions.', 'Linux kvm_pgtable_stage2_relax_perms: -EINVAL');
  }
  const { read, write, px, ux } = permissionsOf(prot, rules.prot);
  return table.relaxPermissions(addr, { read, write, ...(px || ux ? { px, ux } : {}) });
}

/**
 * With the cache that Linux fills before each call: a page for each block of the two largest sizes that a chunk may hold
 * (kvm_mmu_split_nr_page_tables; with 16K and 64K pages there is one such size).
 */
function split({ table, placed }: LiveTable, { addr, size }: TraceFields<'s2_split'>): Outcome<unknown> {
  const { geometry, linuxMinBlockLevel } = table.format;
  let budget = 0;
  for (let level: number = linuxMinBlockLevel; level < 3; level++) {
    budget += Math.ceil(placed.traced.splitChunk / 2 ** (geometry.pageShift + geometry.stride * (3 - level)));
  }
  return table.split(addr, size, { mode: 'linux', budget });
}

function destroy(on: LiveTable): Outcome<unknown> {
  on.table.destroy();
  on.destroyed = true;
  return done(undefined);
}

function mapHyp({ table, placed }: LiveTable, { addr, size, phys, prot }: TraceFields<'hyp_map'>, rules: KernelRules): Outcome<unknown> {
  const request = attributes(prot, rules);
  if (request.kind !== 'done') {
    return request;
  }
  const gp = (request.value.px ?? false) && ((placed.registers['SCTLR_EL2'] ?? 0n) & SCTLR_EL2_BT) !== 0n;
  return hypMap(table, addr, size, phys, { ...request.value, gp }, { mode: 'linux' });
}
