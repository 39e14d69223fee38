import type { DecodedEvent, TraceEventName } from '@granule/snapshot';
import { NO_LEVEL, type Call } from './calls.js';

/** TLBI_TTL_UNKNOWN: INT_MAX. */
const TTL_UNKNOWN = 0x7fff_ffff;

/**
 * The linear map of the kernel: va − pa of its RAM, taken from the first call that tells one beside a physical address. Every later one must fit.
 */
export class LinearMap {
  #offset: bigint | undefined;

  learn(va: bigint, phys: number): void {
    this.#offset ??= va - BigInt(phys);
  }

  /** Physical address of a kernel address; undefined before anything is known. */
  physical(va: bigint): number | undefined {
    return this.#offset === undefined ? undefined : Number(BigInt.asUintN(64, va - this.#offset));
  }
}

/** The stage-2 tables of a VM by the kernel's pointers to them: numbered as they are made, from 0. */
export class TableNumbers {
  readonly #numbers = new Map<bigint, number>();
  #made = 0;

  /** s2_init. */
  made({ pgt, mmu }: { readonly pgt: bigint; readonly mmu: bigint }): void {
    this.#numbers.set(pgt, this.#made);
    this.#numbers.set(mmu, this.#made);
    this.#made += 1;
  }

  /** Of a pgt or an mmu; undefined: none that is known. */
  of(pointer: bigint): number | undefined {
    return this.#numbers.get(pointer);
  }
}

/** Page-table calls, TLB flushes, cache maintenance and tracepoints that the policy must come to, with the fields that are compared. */
const CALLS: { readonly [N in TraceEventName]?: readonly string[] } = {
  s2_init: [],
  s2_map: ['addr', 'size', 'phys', 'prot', 'flags'],
  s2_unmap: ['addr', 'size'],
  s2_wrprotect: ['addr', 'size'],
  s2_flush: ['addr', 'size'],
  s2_split: ['addr', 'size'],
  s2_destroy_range: ['addr', 'size'],
  s2_destroy_pgd: [],
  s2_relax_perms: ['addr', 'prot', 'flags'],
  s2_mkyoung: ['addr', 'flags'],
  s2_test_clear_young: ['addr', 'size', 'mkold'],
  unmap_stage2_range: ['start', 'size', 'block'],
  nested_s2_unmap: ['block'],
  nested_s2_wp: [],
  nested_s2_flush: [],
  stage2_flush_vm: [],
  set_way_flush: [],
  toggle_cache: ['was'],
  flush_cpu_context: [],
  flush_vmid: [],
  flush_vmid_range: [],
  flush_vmid_ipa: ['ipa', 'level'],
  flush_vmid_ipa_nsh: ['ipa', 'level'],
  clean_dcache_guest_page: ['va', 'size'],
  invalidate_icache_guest_page: ['va', 'size'],
  dcache_clean_inval_poc: ['start', 'end'],
  icache_inval_pou: ['start', 'end'],
  lookup_s2_mmu: [],
  lookup_s2_mmu_ret: [],
  s2_mmu_iterate_by_vmid: ['vmid'],
  walk_nested_s2: ['ipa'],
  kvm_inject_nested_exception: ['esr'],
  kvm_access_fault: ['ipa'],
  kvm_set_way_flush: ['pc', 'cache'],
  kvm_toggle_cache: ['pc', 'was', 'now'],
  kvm_mmio: ['access', 'length', 'gpa'],
  kvm_mmio_nisv: ['ipa', 'esr', 'far', 'pc'],
};

/** Whether the policy must come to an event. The read that completes an MMIO access is a later step of the same exit. */
export function isCall({ event, fields }: DecodedEvent): boolean {
  return Object.hasOwn(CALLS, event) && !(event === 'kvm_mmio' && fields.access === 'read');
}

/**
 * A traced event as a call; undefined where it is none of the policy's. Kernel addresses become physical ones through the linear map, and pointers to a stage 2
 * its number; a pointer to none that was made stays what it is.
 */
export function callOf(decoded: DecodedEvent, linear: LinearMap, tables: TableNumbers): Call | undefined {
  if (!isCall(decoded)) {
    return undefined;
  }
  const call = plainCall(decoded, linear);
  const { pgt, mmu, pgd_phys: root } = decoded.fields as { readonly pgt?: bigint; readonly mmu?: bigint; readonly pgd_phys?: number };
  const pointers = [mmu, pgt].filter((each) => each !== undefined);
  if (pointers.length === 0) {
    return call;
  }
  const numbers = pointers.map((pointer) => tables.of(pointer) ?? pointer);
  const table = numbers.find((each) => typeof each === 'bigint') ?? numbers.find((each) => each !== numbers[0]) ?? numbers[0];
  return decoded.event === 'lookup_s2_mmu_ret'
    ? { ...call, fields: { found: mmu === 0n ? 0 : table } }
    : { ...call, fields: { ...call.fields, table, ...(root === undefined ? {} : { root }) } };
}

function plainCall(decoded: DecodedEvent, linear: LinearMap): Call {
  const { event } = decoded;
  const traced = decoded.fields as Fields;
  const fields = Object.fromEntries(CALLS[event]!.filter((name) => name in traced).map((name) => [name, traced[name]]));
  const { va, start, end, level } = fields;
  if (typeof va === 'bigint') {
    return { event, fields: { phys: linear.physical(va) ?? 0, size: fields['size'] } };
  }
  if (typeof start === 'bigint' && typeof end === 'bigint') {
    return { event, fields: { phys: linear.physical(start) ?? 0, size: Number(end - start) } };
  }
  if (level !== undefined) {
    return { event, fields: { ...fields, level: level === TTL_UNKNOWN || level === 0 ? NO_LEVEL : level } };
  }
  const flag = ['mkold', 'was', 'block'].find((name) => typeof fields[name] === 'number');
  return { event, fields: flag === undefined ? fields : { ...fields, [flag]: fields[flag] !== 0 } };
}

type Fields = Readonly<Record<string, number | bigint | string | boolean>>;

/** Names of the fields in which two calls of one name differ; the policy names those that it predicts, and a probe need not print all of them. */
export function differingFields(ours: Call, theirs: Call): readonly string[] {
  return Object.keys(ours.fields).filter((name) => name in theirs.fields && ours.fields[name] !== theirs.fields[name]);
}
