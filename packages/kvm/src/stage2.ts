import { type AttributeRequest, type Coherence, type Failure, type Format, type MapOptions, type Outcome, done } from '@granule/contract';
import { stage2Geometry, type GeometryFeatures } from '@granule/geometry';
import { alignDown, hex, type InputAddress, type OutputAddress } from '@granule/geometry/bits';
import { createPageTable, type GranulePageTable } from '@granule/pgtable';
import type { PolicyEvent, Protection, Violation } from './events.js';
import { blockSizes, type BlockSizes, type HostProfile, type KernelProfile } from './profile.js';
import type { VmidHolder } from './vmid.js';
import type { Vcpu, VmOptions } from './vm.js';

/** Where a mapping may lie: the slot's IPAs, and the physical range that the host has behind it. `slot` is asked where the mapping's own address is no IPA of it. */
export interface MapBounds {
  readonly ipa: readonly [start: number, end: number];
  readonly physical: readonly [start: number, end: number];
  /** Of the mapping in the slot's address space; absent: the mapping's own (they differ in a shadow stage 2). */
  readonly at?: InputAddress;
}

/** What makes a stage 2: its empty table, and the VTCR_EL2 that goes with it. */
export interface Stage2Parts {
  readonly format: Format;
  readonly table: GranulePageTable;
  readonly vtcr: bigint;
}

const MEMORY_TYPES: readonly Protection['memory'][] = ['normal', 'device', 'normal-nc'];
const EXECUTE: readonly Protection['execute'][] = [false, true, 'el0', 'el1'];

export function geometryFeatures({ granule, features }: HostProfile): GeometryFeatures {
  return { granules: features.granules2, lpa: features.lpa, lpa2: features.lpa2Granules2.includes(granule), ttst: features.ttst };
}

/** An empty stage 2 of this input size on this host (Linux kvm_init_stage2_mmu, kvm_get_vtcr). Refused: what the machine refuses. */
export function stage2Parts(options: VmOptions, ipaBits: number, sink = options.sink): Outcome<Stage2Parts> {
  const { backend, host, memory } = options;
  const { granule, features, hardwareAccessFlag } = host;
  const geometry = stage2Geometry({ granule, ipaBits, paBits: features.paBits, features: geometryFeatures(host) });
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
  return registers.kind === 'done' ? done({ format: format.value, table: table.value, vtcr: registers.value.vtcr }) : registers;
}

/** One stage 2, a VM's own or a shadow: table, VTCR_EL2, VMID, and what is done to all of it (struct kvm_s2_mmu). */
export class Stage2 implements VmidHolder {
  vmid = 0;
  generation = 0;
  readonly format: Format;
  readonly table: GranulePageTable;
  readonly vtcr: bigint;
  readonly sizes: BlockSizes;
  readonly #attributes = new Map<number, AttributeRequest>();
  /** By PE: the vCPU that ran there last (last_vcpu_ran). */
  readonly #lastRan = new Map<number, number>();

  /** @param mmu 0: the VM's own; shadows from 1 */
  constructor(
    readonly options: VmOptions,
    parts: Stage2Parts,
    readonly violations: Violation[] = [],
    readonly mmu = 0,
  ) {
    ({ format: this.format, table: this.table, vtcr: this.vtcr } = parts);
    this.sizes = blockSizes(options.host.granule);
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
    this.options.trace?.(this.mmu === 0 ? event : { ...event, mmu: this.mmu });
  }

  /** A vCPU is loaded on a PE: its VMID, and the local TLB where another vCPU of this VM ran here last (kvm_arch_vcpu_load). */
  load(vcpu: Pick<Vcpu, 'id'>, pe: number): number {
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

  /** Invalidates all stage-1 and stage-2 entries of this VMID on every PE (__kvm_tlb_flush_vmid). */
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

  /** One kvm_pgtable_stage2_map, or with `eachPage` one for each page; the mapping is held against slot and backing. */
  map(addr: InputAddress, size: number, phys: OutputAddress, prot: Protection, within: MapBounds, options: MapOptions = {}): Outcome<undefined> {
    const calls = options.eachPage === true ? size / this.sizes.page : 1;
    const fields = { addr, size: size / calls, phys, prot, flags: this.kernel.mapFlags };
    this.tell({ event: 's2_map', fields, ...(calls === 1 ? {} : { calls }) });
    this.#check(within.at ?? addr, size, phys, within);
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
  #requestOf({ read, write, execute, memory, software = 0 }: Protection): AttributeRequest {
    const key = Number(read) + 2 * Number(write) + 4 * EXECUTE.indexOf(execute) + 16 * MEMORY_TYPES.indexOf(memory) + 64 * software;
    let request = this.#attributes.get(key);
    if (request === undefined) {
      const [px, ux] = [execute === true || execute === 'el1', execute === true || execute === 'el0'];
      request = { read, write, px, ux, memory: memory === 'device' ? 'device-nGnRE' : memory, af: true, software };
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
