import type { Backend, EffectSink, TableMemory } from '@granule/contract';
import type { PolicyTrace, Violation } from './events.js';
import type { HostMemory } from './host-memory.js';
import type { IoremapPolicy } from './mmio.js';
import type { NestedOptions, NestedVm } from './nested/nested-vm.js';
import type { HostProfile, KernelProfile } from './profile.js';
import { Slots } from './slots.js';
import { Stage2, type Stage2Parts } from './stage2.js';
import type { VmidAllocator } from './vmid.js';

/**
 * When stage-2 TLB entries of an unmapped range go: one by one; by range once at the end (as far as FEAT_S2FWB and FEAT_TLBIRANGE allow it, else one by
 * one: today's Linux); all of the VM once for each call; not at all (teardown, after which nothing walks the table).
 */
export type InvalidationPolicy = 'each' | 'deferred' | 'vm-wide' | 'elided';

/** When memory is cleaned to PoC and instruction caches follow: Linux does both; a single one is what reviewers asked about. Always elided with FEAT_S2FWB. */
export type MaintenancePolicy = 'map-and-unmap' | 'map' | 'unmap' | 'none';

export interface VmOptions {
  readonly backend: Backend;
  readonly kernel: KernelProfile;
  readonly host: HostProfile;
  /** KVM_CREATE_VM's type: bits 7:0 are the IPA size, 0 stands for 40. */
  readonly type?: number;
  readonly memory: TableMemory;
  readonly hostMemory: HostMemory;
  readonly vmids: VmidAllocator;
  readonly sink?: EffectSink;
  readonly trace?: PolicyTrace;
  /** Default `deferred`. */
  readonly invalidation?: InvalidationPolicy;
  /** Default `map-and-unmap`. */
  readonly maintenance?: MaintenancePolicy;
  /** Whether all VMIDs are invalidated when a new generation of them begins: `elided` is what must not be, with VMs torn down or gone idle before it. Default `all`. */
  readonly rollover?: 'all' | 'elided';
  /** Absent: the guest has no EL2. */
  readonly nested?: NestedOptions;
  readonly onViolation?: (violation: Violation) => void;
  /** Under pKVM: a VM that the host may see into, or one that it may not. Slots follow pKVM's rules; faults of such VMs are not modelled. Default `none`. */
  readonly protection?: 'none' | 'pkvm' | 'pkvm-protected';
  /**
   * Virtual EL2 of a guest that is a hypervisor runs under a VMID of its own, beside the VM's (the proposal of 2017, el2_vmid), so that its stage-1 entries are
   * told from those of EL1; each invalidation is then made under both. Default false: as today, under the VM's.
   */
  readonly virtualEl2Vmid?: boolean;
  /** KVM_CAP_ARM_NISV_TO_USER: accesses without memory that the syndrome does not describe go to userspace. Default false: KVM_RUN fails. */
  readonly nisvToUser?: boolean;
  /** KVM_CAP_ARM_MTE: memory that cannot have tags is refused. */
  readonly mte?: boolean;
  /** How device memory of a slot is mapped: as a slot is made, or at faults. Default: as the kernel does. */
  readonly mmio?: IoremapPolicy | 'at-fault';
}

/** One virtual CPU, as far as memory management goes. */
export interface Vcpu {
  readonly id: number;
  /** HCR_EL2.TVM: writes of VM registers trap. */
  tvm: boolean;
  /** SCTLR.M and SCTLR.C both 1, as the register stands; it changes unseen while its writes do not trap. */
  cachesOn: boolean;
  /** Table pages set aside for its next faults. */
  cache: { objects: number; readonly capacity: number };
}

/** KVM_ARCH_NR_OBJS_PER_MEMORY_CACHE (Linux kvm_types.h). */
const CACHE_CAPACITY = 40;

/** One VM and its canonical stage 2. The operations on it are functions of this package that take it first. */
export class Vm extends Stage2 {
  readonly slots: Slots;
  readonly vcpus: Vcpu[] = [];
  /** Counts notifiers that met a slot: what a fault has looked up before the last one is void (mmu_invalidate_seq). */
  invalidations = 0;
  /** Notifiers that have begun and not ended (mmu_invalidate_in_progress). */
  invalidating = 0;
  /** KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, and its flag for slots that begin all dirty. */
  manualDirtyLog: 'off' | 'manual' | 'initially-set' = 'off';
  /** KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE: bytes, 0 off. */
  splitChunk = 0;
  splitCache = 0;
  /** The shadows; undefined: the guest has no EL2. */
  nested: NestedVm | undefined;

  /** @param hostIpaBits the largest IPA that this host gives any VM, bits */
  constructor(options: VmOptions, parts: Stage2Parts, readonly hostIpaBits: number) {
    super(options, parts);
    this.slots = new Slots({ kernel: options.kernel, pageBytes: this.sizes.page, ipaBits: this.format.geometry.iaBits });
  }

  /** Table pages that nobody has set aside; Infinity: the pool has no bound. */
  get freePages(): number {
    return Math.max(0, this.vcpus.reduce((free, { cache }) => free - cache.objects, this.table.memory.free) - this.splitCache);
  }

  /** A vCPU as KVM_ARM_VCPU_INIT leaves it: VM-register writes trap unless FEAT_S2FWB makes that needless (vcpu_reset_hcr). */
  addVcpu(): Vcpu {
    const vcpu = { id: this.vcpus.length, tvm: !this.host.features.s2fwb, cachesOn: false, cache: { objects: 0, capacity: CACHE_CAPACITY } };
    this.vcpus.push(vcpu);
    return vcpu;
  }
}
