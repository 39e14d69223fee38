import { type Backend, type EffectSink, type Outcome, type TableMemory, done } from '@granule/contract';
import { kvmIpaLimit } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import { refuse } from './errno.js';
import type { PolicyTrace, Violation } from './events.js';
import type { HostMemory } from './host-memory.js';
import type { ShadowHooks } from './nested/hooks.js';
import type { HostProfile, KernelProfile } from './profile.js';
import { Slots } from './slots.js';
import { geometryFeatures, Stage2, type Stage2Parts, stage2Parts } from './stage2.js';
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
  readonly onViolation?: (violation: Violation) => void;
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

const MIN_IPA_BITS = 32;
const DEFAULT_IPA_BITS = 40;
/** KVM_ARCH_NR_OBJS_PER_MEMORY_CACHE (Linux kvm_types.h). */
const CACHE_CAPACITY = 40;

/** The IPA size that a VM type asks for. Refused: `vm.ipa-bits`, and what the machine refuses. Source: Linux kvm_init_ipa_range. */
export function ipaBitsOf(type: number, host: HostProfile): Outcome<number> {
  const limit = kvmIpaLimit({ granule: host.granule, paBits: host.features.paBits, features: geometryFeatures(host) });
  if (limit.kind !== 'done') {
    return limit;
  }
  const bits = type % 256 === 0 ? DEFAULT_IPA_BITS : type % 256;
  if (type !== type % 256 || bits < MIN_IPA_BITS || bits > limit.value) {
    const sentence = `VM type ${hex(type, 1)} asks for ${bits} bits of IPA; this host gives ${MIN_IPA_BITS} to ${limit.value}, in bits 7:0.`;
    return refuse('vm.ipa-bits', sentence, 'Linux kvm_init_ipa_range');
  }
  return done(bits);
}

/** The VM's own stage 2, VTCR_EL2 included (Linux kvm_init_stage2_mmu, kvm_get_vtcr). */
export function createVm(options: VmOptions): Outcome<Vm> {
  const ipaBits = ipaBitsOf(options.type ?? 0, options.host);
  if (ipaBits.kind !== 'done') {
    return ipaBits;
  }
  const parts = stage2Parts(options, ipaBits.value);
  if (parts.kind !== 'done') {
    return parts;
  }
  options.trace?.({ event: 's2_init', fields: {} });
  return done(new Vm(options, parts.value));
}

/** One VM and its canonical stage 2. The operations on it are functions of this package that take it first. */
export class Vm extends Stage2 {
  readonly slots: Slots;
  readonly vcpus: Vcpu[] = [];
  /** Counts notifiers that met a slot: what a fault has looked up before the last one is void (mmu_invalidate_seq). */
  invalidations = 0;
  /** KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, and its flag for slots that begin all dirty. */
  manualDirtyLog: 'off' | 'manual' | 'initially-set' = 'off';
  /** KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE: bytes, 0 off. */
  splitChunk = 0;
  splitCache = 0;
  /** Shadows; undefined: no virtual EL2. */
  nested: ShadowHooks | undefined;

  constructor(options: VmOptions, parts: Stage2Parts) {
    super(options, parts);
    this.slots = new Slots({ kernel: options.kernel, pageBytes: this.sizes.page, ipaBits: this.format.geometry.iaBits });
  }

  /** A vCPU as KVM_ARM_VCPU_INIT leaves it: VM-register writes trap unless FEAT_S2FWB makes that needless (vcpu_reset_hcr). */
  addVcpu(): Vcpu {
    const vcpu = { id: this.vcpus.length, tvm: !this.host.features.s2fwb, cachesOn: false, cache: { objects: 0, capacity: CACHE_CAPACITY } };
    this.vcpus.push(vcpu);
    return vcpu;
  }
}
