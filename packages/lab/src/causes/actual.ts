import type { DecodedEvent } from '@granule/snapshot';
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

/** Page-table calls, TLB flushes and cache maintenance: the names that the policy must make. */
export function isCall(decoded: DecodedEvent): boolean {
  return callOf(decoded, undefined) !== undefined;
}

/** A traced event as a call; undefined where it is none of the policy's. Kernel addresses become physical ones through the linear map. */
export function callOf({ event, fields }: DecodedEvent, linear: LinearMap | undefined): Call | undefined {
  const memory = (va: bigint, size: number): Call => ({ event, fields: { phys: linear?.physical(va) ?? 0, size } });
  switch (event) {
    case 's2_map':
      return { event, fields: pick(fields, ['addr', 'size', 'phys', 'prot', 'flags']) };
    case 's2_unmap':
    case 's2_wrprotect':
    case 's2_flush':
    case 's2_split':
    case 's2_destroy_range':
      return { event, fields: pick(fields, ['addr', 'size']) };
    case 's2_relax_perms':
      return { event, fields: pick(fields, ['addr', 'prot', 'flags']) };
    case 's2_mkyoung':
      return { event, fields: pick(fields, ['addr', 'flags']) };
    case 's2_test_clear_young':
      return { event, fields: { ...pick(fields, ['addr', 'size']), mkold: fields.mkold !== 0 } };
    case 'unmap_stage2_range':
      return { event, fields: pick(fields, ['start', 'size']) };
    case 's2_init':
    case 's2_destroy_pgd':
    case 'nested_s2_unmap':
    case 'nested_s2_wp':
    case 'nested_s2_flush':
    case 'stage2_flush_vm':
    case 'set_way_flush':
    case 'flush_cpu_context':
    case 'flush_vmid':
    case 'flush_vmid_range':
      return { event, fields: {} };
    case 'toggle_cache':
      return { event, fields: { was: fields.was !== 0 } };
    case 'kvm_access_fault':
      return { event, fields: pick(fields, ['ipa']) };
    case 'kvm_set_way_flush':
      return { event, fields: pick(fields, ['pc', 'cache']) };
    case 'kvm_toggle_cache':
      return { event, fields: pick(fields, ['pc', 'was', 'now']) };
    case 'kvm_mmio':
      return fields.access === 'read' ? undefined : { event, fields: pick(fields, ['access', 'length', 'gpa']) };
    case 'kvm_mmio_nisv':
      return { event, fields: pick(fields, ['ipa', 'esr', 'far', 'pc']) };
    case 'flush_vmid_ipa':
    case 'flush_vmid_ipa_nsh':
      return { event, fields: { ipa: fields.ipa, level: fields.level === TTL_UNKNOWN || fields.level === 0 ? NO_LEVEL : fields.level } };
    case 'clean_dcache_guest_page':
    case 'invalidate_icache_guest_page':
      return memory(fields.va, fields.size);
    case 'dcache_clean_inval_poc':
    case 'icache_inval_pou':
      return memory(fields.start, Number(fields.end - fields.start));
    default:
      return undefined;
  }
}

type Fields = Readonly<Record<string, number | bigint | string | boolean>>;

function pick(fields: object, names: readonly string[]): Fields {
  return Object.fromEntries(names.map((name) => [name, (fields as Fields)[name]]));
}

/** Names of the fields in which two calls of one name differ. */
export function differingFields(ours: Call, theirs: Call): readonly string[] {
  return Object.keys(ours.fields).filter((name) => ours.fields[name] !== theirs.fields[name]);
}
