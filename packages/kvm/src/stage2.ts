import {
  type AttributeRequest, type Coherence, type ContextFormat, type Failure, type Format, type MapOptions, type Outcome, type Registers, done,
} from '@granule/contract';
import { levelShift, stage2Geometry, type GeometryFeatures, type TableGeometry } from '@granule/geometry';
import { alignDown, hex, type InputAddress, type OutputAddress } from '@granule/geometry/bits';
import { createPageTable, type GranulePageTable } from '@granule/pgtable';
import type { PolicyEvent, Protection, Violation } from './events.js';
import { guestRegisters } from './guest-registers.js';
import { blockSizes, type BlockSizes, type HostProfile, type KernelProfile } from './profile.js';
import { cpuContextInvalidation, vmContextInvalidation, type VmInvalidation } from './vm-invalidation.js';
import { TaggingSink, VmTag } from './vm-tag.js';
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
  /** What the table's descriptors mean, as `context-installed` tells it. */
  readonly context: ContextFormat;
  readonly sink: TaggingSink | undefined;
}

const MEMORY_TYPES: readonly Protection['memory'][] = ['normal', 'device', 'normal-nc'];
const EXECUTE: readonly Protection['execute'][] = [false, true, 'el0', 'el1'];

export function geometryFeatures({ granule, features }: HostProfile): GeometryFeatures {
  return { granules: features.granules2, lpa: features.lpa, lpa2: features.lpa2Granules2.includes(granule), ttst: features.ttst };
}

/** MAX_TLBI_RANGE_PAGES: what one range invalidation reaches, 2^21 pages (Linux asm/tlbflush.h). */
const MAX_RANGE_PAGES = 2 ** 21;

/** What a log needs to know to read the table. */
function contextFormat(backend: string, geometry: TableGeometry, { s2fwb: fwb, xnx, tlbirange, ttl, bbm, lpa }: HostProfile['features']): ContextFormat {
  const { granule, iaBits, oaBits, startLevel, ds } = geometry;
  return { backend, granule, iaBits, oaBits, startLevel, ds, fwb, features: { xnx, tlbirange, ttl, bbm, lpa } };
}

/** An empty stage 2 of this input size on this host (Linux kvm_init_stage2_mmu, kvm_get_vtcr). Refused: what the machine refuses. */
export function stage2Parts(options: VmOptions, ipaBits: number, effects = options.sink): Outcome<Stage2Parts> {
  const { backend, host, memory, kernel } = options;
  const { granule, vaBits, features, hardwareAccessFlag } = host;
  const hostLevels = kernel.fixedIpa ? 'checked' : 'independent';
  const sizes = { granule, ipaBits, paBits: features.paBits, features: geometryFeatures(host) };
  const geometry = stage2Geometry({ ...sizes, host: { granule, vaBits }, hostLevels });
  if (geometry.kind !== 'done') {
    return geometry;
  }
  const effective = { ...features, tlbirange: features.tlbirange && host.tlbRange };
  const format = backend.format('s2', { geometry: geometry.value, features: effective, fwb: features.s2fwb });
  if (format.kind !== 'done') {
    return format;
  }
  const coherence: Coherence = { fwb: features.s2fwb, dic: features.dic };
  const sink = effects && new TaggingSink(effects);
  const table = createPageTable({ format: format.value, memory, coherence, ...(sink === undefined ? {} : { sink }) });
  if (table.kind !== 'done') {
    return table;
  }
  const ha = hardwareAccessFlag && features.haf;
  const registers = backend.registers.encodeStage2({ geometry: geometry.value, features, ha, root: table.value.root });
  const context = contextFormat(backend.name, geometry.value, effective);
  return registers.kind === 'done' ? done({ format: format.value, table: table.value, vtcr: registers.value.vtcr, context, sink }) : registers;
}

/** One stage 2, a VM's own or a shadow: table, VTCR_EL2, VMID, and what is done to all of it (struct kvm_s2_mmu). */
export class Stage2 {
  readonly format: Format;
  readonly table: GranulePageTable;
  readonly vtcr: bigint;
  readonly context: ContextFormat;
  readonly sizes: BlockSizes;
  readonly #sink: TaggingSink | undefined;
  readonly #tag: VmTag;
  readonly #el2Tag: VmTag | undefined;
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
    ({ format: this.format, table: this.table, vtcr: this.vtcr, context: this.context } = parts);
    this.#sink = parts.sink;
    const { host, kernel, protection = 'none', virtualEl2Vmid = false } = options;
    this.sizes = blockSizes(host.granule, kernel.largestBlock === 'pmd' || protection !== 'none' || this.isAarch32 ? 'pmd' : 'pud');
    const tag = (): VmTag => new VmTag(this.table.root, this.context, this.#sink);
    this.#tag = tag();
    this.#el2Tag = virtualEl2Vmid && mmu === 0 ? tag() : undefined;
    if (this.#sink !== undefined) {
      this.#sink.tags = this.#tags;
    }
  }

  get vmid(): number {
    return this.#tag.vmid;
  }

  /** Of virtual EL2, where it has one of its own ({@link VmOptions.virtualEl2Vmid}); 0 before it first ran. */
  get el2Vmid(): number {
    return this.#el2Tag?.vmid ?? this.vmid;
  }

  get generation(): number {
    return this.#tag.generation;
  }

  /** A 32-bit host: its TLB operations and registers have other names, and it has no blocks of level 1 (stage2_wp_puds). */
  get isAarch32(): boolean {
    return this.options.backend.regimes.includes('pl10');
  }

  get #tags(): readonly VmTag[] {
    return this.#el2Tag === undefined ? [this.#tag] : [this.#tag, this.#el2Tag];
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

  /**
   * A vCPU is loaded on a PE and enters the guest, at EL1 or at virtual EL2. Where another vCPU of this stage 2 ran here last the local TLB goes, under the VMID
   * that the VM had so far; then it gets its VMID, for which a new generation may begin (kvm_arch_vcpu_load, kvm_arm_vmid_update). Answers the VMID.
   */
  load(vcpu: Pick<Vcpu, 'id'>, pe: number, at: 'el1' | 'virtual-el2' = 'el1'): number {
    if (this.#lastRan.get(pe) !== vcpu.id) {
      this.#lastRan.set(pe, vcpu.id);
      this.tell({ event: 'flush_cpu_context', fields: {} });
      this.#tags.forEach(({ vmid }) => this.issue(cpuContextInvalidation(this.isAarch32, vmid)));
    }
    const tag = at === 'virtual-el2' ? (this.#el2Tag ?? this.#tag) : this.#tag;
    const { vmid, rollover } = this.options.vmids.use(tag, pe);
    if (rollover && this.options.rollover !== 'elided') {
      this.issue(vmContextInvalidation(this.isAarch32));
    }
    tag.entered();
    return vmid;
  }

  /** The vCPU leaves the PE, which then runs no guest: its VMID is not kept at a rollover (kvm_arch_vcpu_put). */
  put(pe: number): void {
    this.options.vmids.leave(pe);
  }

  /** The table is out of use for good. */
  retire(): void {
    this.#tags.forEach((tag) => tag.expired());
  }

  /**
   * What EL2 writes for a vCPU at entry: HCR, VTCR and VTTBR by their names on this architecture. TSW is always set, TVM as the vCPU has it; SWIO makes of an
   * invalidation by set/way one that also cleans (HCR_GUEST_FLAGS).
   */
  registersOf(vcpu: Vcpu, at: 'el1' | 'virtual-el2' = 'el1'): Outcome<Registers> {
    return guestRegisters(this, vcpu, at === 'virtual-el2' ? this.el2Vmid : this.vmid);
  }

  /** Invalidates all stage-1 and stage-2 entries of its VMID on every PE (__kvm_tlb_flush_vmid). */
  flushVmid(): void {
    this.issue(this.format.tlbi.all.map((step) => (step.type === 'tlbi' ? { type: 'tlbi', op: step.op } : step)));
  }

  /**
   * The same for a range, by range operations where the host has them, of at most 2^21 pages each (kvm_tlb_flush_vmid_range); else of the whole VM, whatever
   * the size.
   */
  flushRange(addr: InputAddress, size: number): void {
    const steps = this.format.tlbi.range;
    if (!steps.some((step) => step.type === 'tlbi' && step.takes === 'range')) {
      this.flushVmid();
      return;
    }
    const most = MAX_RANGE_PAGES * this.sizes.page;
    for (let done = 0; done < size; done += most) {
      const range = { address: addr + done, bytes: Math.min(most, size - done) };
      this.issue(steps.map((step) => (step.type !== 'tlbi' ? step : { type: 'tlbi', op: step.op, ...(step.takes === 'range' && range) })));
    }
  }

  /** One kvm_pgtable_stage2_map, or with `eachPage` one for each page; the mapping is held against slot and backing. */
  map(addr: InputAddress, size: number, phys: OutputAddress, prot: Protection, within: MapBounds, options: MapOptions = {}): Outcome<undefined> {
    const calls = options.eachPage === true ? size / this.sizes.page : 1;
    const fields = { addr, size: size / calls, phys, prot, flags: options.shared === false ? 0 : this.kernel.mapFlags };
    this.tell({ event: 's2_map', fields, ...(calls === 1 ? {} : { calls }) });
    this.#check(within.at ?? addr, size, phys, within);
    const cleans = this.options.maintenance === undefined || this.options.maintenance.startsWith('map');
    return this.table.map(addr, size, phys, this.#requestOf(prot), {
      mode: 'linux', ...options, ...(cleans ? {} : { skip: { ...options.skip, cmo: true } }),
    });
  }

  /**
   * Calls `step` for the parts of a range between multiples of the largest block, or of an entry of the entry table (stage2_apply_range); stops at a failure.
   * Whole parts of a shadow in which nothing is mapped are passed over: its input size has hundreds of thousands of them, and a step there does nothing.
   */
  inChunks(start: InputAddress, end: InputAddress, step: (addr: InputAddress, size: number) => Outcome<unknown>): Failure | undefined {
    const { granule, startLevel } = this.format.geometry;
    const chunk = this.kernel.rangeStep === 'block' ? this.sizes.largest : 2 ** levelShift(granule, startLevel);
    const shift = Math.log2(chunk);
    for (let addr = start; addr < end; ) {
      const next = Math.min(alignDown(addr, shift) + chunk, end);
      const used = this.mmu === 0 || next - addr < chunk ? addr : this.#firstUsed(addr, end, shift);
      if (used !== addr) {
        addr = used;
        continue;
      }
      const outcome = step(addr, next - addr);
      if (outcome.kind !== 'done') {
        return outcome;
      }
      addr = next;
    }
    return undefined;
  }

  /** Start of the first part from here on in which something is mapped; of the last one where nothing is. */
  #firstUsed(addr: InputAddress, end: InputAddress, shift: number): InputAddress {
    const [leaf] = this.table.query(addr, end - addr, 1);
    return leaf === undefined ? Math.max(alignDown(end, shift), addr + 2 ** shift) : alignDown(leaf.start, shift);
  }

  /** Invalidations and barriers under its VMID, which is named on those that use one. */
  issue(effects: VmInvalidation): void {
    effects.forEach((effect) => this.#sink?.effect(effect));
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
