import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';

/** What a mapping is asked to permit and to be (enum kvm_pgtable_prot). */
export interface Protection {
  readonly read: boolean;
  readonly write: boolean;
  /** Both privileges (KVM_PGTABLE_PROT_X), or one of them: what a guest hypervisor's XN leaves. */
  readonly execute: boolean | 'el0' | 'el1';
  readonly memory: 'normal' | 'device' | 'normal-nc';
  /** Software bits 58:55 of the leaf, 0…15; absent: 0. A shadow's leaf keeps the level of the guest hypervisor's there. */
  readonly software?: number;
}

interface Range {
  readonly addr: InputAddress;
  /** Bytes. */
  readonly size: number;
}

/**
 * What the policy does, as a kernel's tracepoints and function probes tell it, and under their names: calls of page-table functions (`s2_…`), of the
 * functions around them, and KVM's own tracepoints. What the calls do to the machine goes to the sink of effects.
 */
export type PolicyEvent = {
  /** The shadow stage 2 that it is about, from 1 in the order of their making; absent: the VM's own, or none. */
  readonly mmu?: number;
} & (
  | {
      readonly event: 's2_map';
      readonly fields: Range & { readonly phys: OutputAddress; readonly prot: Protection; readonly flags: number };
      /** So many calls one after the other, each `size` further; a failure ends them early. Absent: one. */
      readonly calls?: number;
    }
  | { readonly event: 's2_unmap' | 's2_wrprotect' | 's2_flush' | 's2_split' | 's2_destroy_range'; readonly fields: Range }
  | { readonly event: 's2_relax_perms'; readonly fields: { readonly addr: InputAddress; readonly prot: Protection; readonly flags?: number } }
  | { readonly event: 's2_mkyoung'; readonly fields: { readonly addr: InputAddress; readonly flags?: number } }
  | { readonly event: 's2_test_clear_young'; readonly fields: Range & { readonly mkold: boolean } }
  | { readonly event: 'unmap_stage2_range'; readonly fields: { readonly start: InputAddress; readonly size: number } }
  | {
      readonly event:
        | 's2_init' | 's2_destroy_pgd' | 'nested_s2_unmap' | 'nested_s2_wp' | 'nested_s2_flush' | 'stage2_flush_vm' | 'set_way_flush'
        | 'flush_cpu_context';
      readonly fields: Readonly<Record<string, never>>;
    }
  | { readonly event: 'toggle_cache'; readonly fields: { readonly was: boolean } }
  | { readonly event: 'kvm_access_fault'; readonly fields: { readonly ipa: InputAddress } }
  | { readonly event: 'kvm_set_way_flush'; readonly fields: { readonly pc: bigint; readonly cache: boolean } }
  | { readonly event: 'kvm_toggle_cache'; readonly fields: { readonly pc: bigint; readonly was: boolean; readonly now: boolean } }
  | {
      readonly event: 'kvm_mmio';
      readonly fields: { readonly access: 'write' | 'unsatisfied-read'; readonly length: number; readonly gpa: InputAddress };
    }
  | { readonly event: 'kvm_mmio_nisv'; readonly fields: { readonly ipa: InputAddress; readonly esr: bigint; readonly far: bigint; readonly pc: bigint } }
  | { readonly event: 'lookup_s2_mmu'; readonly fields: Readonly<Record<string, never>> }
  /** 0: no context has the key. */
  | { readonly event: 'lookup_s2_mmu_ret'; readonly fields: { readonly found: number } }
  | { readonly event: 's2_mmu_iterate_by_vmid'; readonly fields: { readonly vmid: number } }
  | { readonly event: 'walk_nested_s2'; readonly fields: { readonly ipa: InputAddress } }
  | { readonly event: 'kvm_inject_nested_exception'; readonly fields: { readonly esr: bigint } }
);

export type PolicyEventName = PolicyEvent['event'];

/** Takes events in program order, each before its effects, but tracepoints that Linux emits afterwards. Absent: none is built. */
export type PolicyTrace = (event: PolicyEvent) => void;

/** A mapping that a rule of the policy's own forbids. */
export interface Violation {
  readonly id: 'map.outside-slot' | 'map.outside-backing';
  readonly sentence: string;
  readonly address: InputAddress;
  readonly bytes: number;
  readonly output: OutputAddress;
  readonly level?: Level;
}
