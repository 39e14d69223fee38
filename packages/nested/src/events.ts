import type { ShadowDecision } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';

/** Why something is unmapped from a shadow. */
export type UnmapCause =
  | { readonly why: 'tlbi'; readonly name: string; readonly operand: bigint }
  /** The context was taken for another guest, or its BADDR changed. */
  | { readonly why: 'taken-over' }
  /** The host took memory away: everything goes, since nobody knows what it is mapped as. */
  | { readonly why: 'host' };

/** What the layer does, in program order, each before what it asks of the host. */
export type ShadowEvent =
  /** lookup_s2_mmu; `found`: number of the context. */
  | { readonly event: 'lookup'; readonly vcpu: number; readonly found: number | undefined }
  | { readonly event: 'taken'; readonly vcpu: number; readonly context: number; readonly pendingUnmap: boolean }
  /** walk_nested_s2. */
  | { readonly event: 'walk'; readonly vcpu: number; readonly ipa: InputAddress }
  | { readonly event: 'decided'; readonly vcpu: number; readonly context: number; readonly ipa: InputAddress; readonly decision: ShadowDecision }
  /** s2_mmu_iterate_by_vmid: every context of the VMID follows. */
  | { readonly event: 'by-vmid'; readonly vmid: number; readonly name: string }
  /** kvm_nested_s2_unmap, _wp, _flush. */
  | { readonly event: 'unmap-all' | 'write-protect-all' | 'flush-all' }
  | { readonly event: 'unmap'; readonly context: number; readonly start: InputAddress; readonly end: InputAddress; readonly cause: UnmapCause };
