import {
  type AttributeRequest, type Backend, type Coherence, type EffectSink, type Failure, type Format, type MapOptions, type Outcome, type TableMemory, done,
} from '@granule/contract';
import { kvmIpaLimit, stage2Geometry, type GeometryFeatures } from '@granule/geometry';
import { alignDown, hex, type InputAddress, type OutputAddress } from '@granule/geometry/bits';
import { createPageTable, type GranulePageTable } from '@granule/pgtable';
import { refuse } from './errno.js';
import type { PolicyEvent, PolicyTrace, Protection, Violation } from './events.js';
import type { HostMemory } from './host-memory.js';
import { blockSizes, type BlockSizes, type HostProfile, type KernelProfile } from './profile.js';
import { Slots } from './slots.js';
import type { VmidAllocator, VmidHolder } from './vmid.js';

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
  cache: { objects: number; readonly capacity: number; readonly minimum: number };
}

const MEMORY_TYPES: readonly Protection['memory'][] = ['normal', 'device', 'normal-nc'];
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

function geometryFeatures({ granule, features }: HostProfile): GeometryFeatures {
  return { granules: features.granules2, lpa: features.lpa, lpa2: features.lpa2Granules2.includes(granule), ttst: features.ttst };
}

/** The VM's own stage 2, VTCR_EL2 included (Linux kvm_init_stage2_mmu, kvm_get_vtcr). */
export function createVm(options: VmOptions): Outcome<Vm> {
  const { backend, host, memory, sink } = options;
  const ipaBits = ipaBitsOf(options.type ?? 0, host);
  if (ipaBits.kind !== 'done') {
    return ipaBits;
  }
  const { granule, features, hardwareAccessFlag } = host;
  const geometry = stage2Geometry({ granule, ipaBits: ipaBits.value, paBits: features.paBits, features: geometryFeatures(host) });
  if (geometry.kind !== 'done') {
    return geometry;
  }
  const effective = { ...features, tlbirange: features.tlbirange && host.tlbRange };
  const format = backend.format('s2', { geometry: geometry.value, features: effective, fwb: features.s2fwb });
  if (format.kind !== 'done') {
    return format;
  }
  const coherence: Coherence = { fwb: features.s2fwb, dic: features.dic };
  const table = createPageTable({ format: format.value, memory, coherence, ...(sink === undefined ? {} : { sink }) });
  if (table.kind !== 'done') {
    return table;
  }
  const ha = hardwareAccessFlag && features.haf;
  const registers = backend.registers.encodeStage2({ geometry: geometry.value, features, ha, root: table.value.root });
  if (registers.kind !== 'done') {
    return registers;
  }
  options.trace?.({ event: 's2_init', fields: {} });
  return done(new Vm(options, format.value, table.value, registers.value.vtcr));
}

/** One VM and its canonical stage 2. The operations on it are functions of this package that take it first. */
export class Vm implements VmidHolder {
  vmid = 0;
  generation = 0;
  readonly slots: Slots;
  readonly vcpus: Vcpu[] = [];
  readonly sizes: BlockSizes;
  readonly violations: Violation[] = [];
  /** Counts notifiers that met a slot: what a fault has looked up before the last one is void (mmu_invalidate_seq). */
  invalidations = 0;
  /** KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, and its flag for slots that begin all dirty. */
  manualDirtyLog: 'off' | 'manual' | 'initially-set' = 'off';
  /** KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE: bytes, 0 off. */
  splitChunk = 0;
  splitCache = 0;
  readonly #attributes = new Map<number, AttributeRequest>();
  /** By PE: the vCPU that ran there last (last_vcpu_ran). */
  readonly #lastRan = new Map<number, number>();

  constructor(
    readonly options: VmOptions,
    readonly format: Format,
    readonly table: GranulePageTable,
    readonly vtcr: bigint,
  ) {
    this.sizes = blockSizes(options.host.granule);
    this.slots = new Slots({ kernel: options.kernel, pageBytes: this.sizes.page, ipaBits: format.geometry.iaBits });
  }

  get kernel(): KernelProfile {
    return this.options.kernel;
  }

  get host(): HostProfile {
    return this.options.host;
  }

  get ipaLimit(): number {
    return 2 ** this.format.geometry.iaBits;
  }

  tell(event: PolicyEvent): void {
    this.options.trace?.(event);
  }

  /** A vCPU as KVM_ARM_VCPU_INIT leaves it: VM-register writes trap unless FEAT_S2FWB makes that needless (vcpu_reset_hcr). */
  addVcpu(): Vcpu {
    const minimum = this.format.geometry.levels - 1;
    const vcpu = { id: this.vcpus.length, tvm: !this.host.features.s2fwb, cachesOn: false, cache: { objects: 0, capacity: CACHE_CAPACITY, minimum } };
    this.vcpus.push(vcpu);
    return vcpu;
  }

  /** A vCPU is loaded on a PE: its VMID, and the local TLB where another vCPU of this VM ran here last (kvm_arch_vcpu_load). */
  load(vcpu: Vcpu, pe: number): number {
    const { vmid, rollover } = this.options.vmids.use(this, pe);
    if (rollover) {
      this.#issue('ALLE1IS', 'ish');
    }
    if (this.#lastRan.get(pe) !== vcpu.id) {
      this.#lastRan.set(pe, vcpu.id);
      this.tell({ event: 'flush_cpu_context', fields: {} });
      this.#issue('VMALLE1', 'nsh', true);
    }
    return vmid;
  }

  /** Invalidates all of this VM's stage-1 and stage-2 entries on every PE (__kvm_tlb_flush_vmid). */
  flushVmid(): void {
    for (const step of this.format.tlbi.all) {
      this.options.sink?.effect(step.type === 'tlbi' ? { type: 'tlbi', op: step.op } : step);
    }
  }

  /** The same for a range, by range operations where the host has them (kvm_tlb_flush_vmid_range). */
  flushRange(addr: InputAddress, size: number): void {
    const steps = this.format.tlbi.range;
    if (!steps.some((step) => step.type === 'tlbi' && step.takes === 'range')) {
      this.flushVmid();
      return;
    }
    for (const step of steps) {
      const { sink } = this.options;
      if (step.type !== 'tlbi') {
        sink?.effect(step);
      } else {
        sink?.effect(step.takes === 'range' ? { type: 'tlbi', op: step.op, address: addr, bytes: size } : { type: 'tlbi', op: step.op });
      }
    }
  }

  /** One kvm_pgtable_stage2_map; the mapping is held against slot and backing. */
  map(addr: InputAddress, size: number, phys: OutputAddress, prot: Protection, within: MapBounds, options: MapOptions = {}): Outcome<undefined> {
    this.tell({ event: 's2_map', fields: { addr, size, phys, prot, flags: this.kernel.mapFlags } });
    this.#check(addr, size, phys, within);
    const cleans = this.options.maintenance === undefined || this.options.maintenance.startsWith('map');
    return this.table.map(addr, size, phys, this.#requestOf(prot), {
      mode: 'linux', ...options, ...(cleans ? {} : { skip: { ...options.skip, cmo: true } }),
    });
  }

  /** Calls `step` for the parts of a range between multiples of the largest block (stage2_apply_range); stops at a failure. */
  inChunks(start: InputAddress, end: InputAddress, step: (addr: InputAddress, size: number) => Outcome<unknown>): Failure | undefined {
    const chunk = this.sizes.largest;
    for (let addr = start; addr < end; ) {
      const next = Math.min(alignDown(addr, Math.log2(chunk)) + chunk, end);
      const outcome = step(addr, next - addr);
      if (outcome.kind !== 'done') {
        return outcome;
      }
      addr = next;
    }
    return undefined;
  }

  #issue(op: string, domain: 'ish' | 'nsh', instructions = false): void {
    const { sink } = this.options;
    sink?.effect({ type: 'dsb', domain: domain === 'ish' ? 'ishst' : 'nshst' });
    sink?.effect({ type: 'tlbi', op });
    if (instructions) {
      sink?.effect({ type: 'cmo', op: 'ic-iallu', to: 'pou', address: 0, bytes: 0 });
    }
    sink?.effect({ type: 'dsb', domain });
    sink?.effect({ type: 'isb' });
  }

  /** One object for each kind of mapping: the core keeps the leaf bits of the last one. */
  #requestOf({ read, write, execute, memory }: Protection): AttributeRequest {
    const key = Number(read) + 2 * Number(write) + 4 * Number(execute) + 8 * MEMORY_TYPES.indexOf(memory);
    let request = this.#attributes.get(key);
    if (request === undefined) {
      request = { read, write, px: execute, ux: execute, memory: memory === 'device' ? 'device-nGnRE' : memory, af: true, software: 0 };
      this.#attributes.set(key, request);
    }
    return request;
  }

  #check(address: InputAddress, bytes: number, output: OutputAddress, { ipa, physical }: MapBounds): void {
    if (address < ipa[0] || address + bytes > ipa[1]) {
      this.#violated('map.outside-slot', `reaches beyond its slot, ${hex(ipa[0])}-${hex(ipa[1])}`, address, bytes, output);
    }
    if (output < physical[0] || output + bytes > physical[1]) {
      this.#violated('map.outside-backing', `reaches beyond the host memory behind it, ${hex(physical[0])}-${hex(physical[1])}`, address, bytes, output);
    }
  }

  #violated(id: Violation['id'], what: string, address: InputAddress, bytes: number, output: OutputAddress): void {
    const sentence = `The mapping ${hex(address)}-${hex(address + bytes)} to ${hex(output)}-${hex(output + bytes)} ${what}.`;
    const violation = { id, sentence, address, bytes, output };
    this.violations.push(violation);
    this.options.onViolation?.(violation);
  }
}

/** Where a mapping may lie: the slot's IPAs, and the physical range that the host has behind it. */
export interface MapBounds {
  readonly ipa: readonly [start: number, end: number];
  readonly physical: readonly [start: number, end: number];
}
