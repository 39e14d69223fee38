import { type HostStage2, type LookupResult, type Outcome, type ShadowLeaf, type TlbiEffect, DONE, ENTRY } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import { newLookup } from '@granule/pgtable';
import { Stage2, stage2Parts } from '../stage2.js';
import { unmapRange } from '../unmap.js';
import type { Vm } from '../vm.js';

/** KVM_NV_GUEST_MAP_SZ: software bits 1:0 of a shadow's leaf. */
const TAGS = 4;
/** TLB invalidations of EL1 whose operand is a VA, and an ASID beside it. */
const BY_VA = /^R?VA/u;
const BY_ASID = /^(?:ASID|VAE|VALE|RVAE|RVALE)/u;

/** The shadows of a VM as stage 2s of their own: what the nested layer asks for, this does. Number n of the layer is mmu n + 1. */
export class ShadowTables implements HostStage2 {
  readonly shadows: Stage2[] = [];
  readonly #at: LookupResult = newLookup();

  constructor(
    readonly vm: Vm,
    readonly paBits: number,
  ) {}

  /** Linux init_nested_s2_mmu: the input size is what the guest hypervisor sees as PARange. */
  add(context: number): Outcome<undefined> {
    const { options } = this.vm;
    const parts = stage2Parts(options, this.paBits);
    if (parts.kind !== 'done') {
      return parts;
    }
    const shadow = new Stage2(options, parts.value, this.vm.violations, context + 1);
    shadow.tell({ event: 's2_init', fields: {} });
    this.shadows[context] = shadow;
    return DONE;
  }

  unmap(context: number, start: InputAddress, end: InputAddress): void {
    const shadow = this.shadows[context];
    unmapRange(shadow, start, Math.min(end, shadow.ipaLimit));
  }

  /** As for the VM's own: whoever asks for it owes the invalidation. */
  writeProtect(context: number): void {
    const shadow = this.shadows[context];
    shadow.inChunks(0, shadow.ipaLimit, (addr, size) => {
      shadow.tell({ event: 's2_wrprotect', fields: { addr, size } });
      return shadow.table.writeProtect(addr, size);
    });
  }

  flush(context: number): void {
    const shadow = this.shadows[context];
    shadow.inChunks(0, shadow.ipaLimit, (addr, size) => {
      shadow.tell({ event: 's2_flush', fields: { addr, size } });
      return shadow.table.flush(addr, size);
    });
  }

  leaf(context: number, ipa: InputAddress): ShadowLeaf | undefined {
    const { table, format } = this.shadows[context];
    const at = this.#at;
    const found = table.lookup(ipa, at) && at.kind === ENTRY.leaf;
    return found ? { tag: format.decodeLeaf(at.lo, at.hi, at.level).software % TAGS } : undefined;
  }

  /** __kvm_tlbi_s1e2: the guest hypervisor's own operand, under the shadow's VMID. */
  invalidateStage1(context: number, name: string, operand: bigint): void {
    const effect: TlbiEffect = {
      type: 'tlbi', op: name,
      ...(BY_VA.test(name) ? { address: Number(BigInt.asUintN(36, operand)) * 4096 } : {}),
      ...(BY_ASID.test(name) ? { asid: Number(operand >> 48n) } : {}),
    };
    this.shadows[context].issue([{ type: 'dsb', domain: 'ishst' }, effect, { type: 'dsb', domain: 'ish' }, { type: 'isb' }]);
  }
}
