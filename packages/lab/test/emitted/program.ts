import { armv8 } from '@granule/armv8';
import { ENTRY, type Registers } from '@granule/contract';
import { blockSizes, clearDirtyLog, createVm, getDirtyLog, guestAbort, type HostArea, type HostProfile, kernelProfile, linuxCaches, notifierAge, notifierUnmap, setMemoryRegion, setSplitChunk, type Slot, type Vcpu, type Vm, VmidAllocator } from '@granule/kvm';
import { createTableArena } from '@granule/memory';
import { newLookup } from '@granule/pgtable';
import { RunRecorder } from '../../src/index.js';
import { valueOf } from '../support.js';
import { Random } from './random.js';
import { SimulatedHost } from './simulated-host.js';

/** What a run is made of. */
export interface Setup {
  readonly seed: number;
  readonly kernel: string;
  readonly granule: '4K' | '16K' | '64K';
  readonly ipaBits: number;
  readonly paBits: 40 | 48 | 52;
  readonly fwb: boolean;
  readonly dic: boolean;
  /** VTCR_EL2.HA. */
  readonly ha: boolean;
  readonly range: boolean;
  readonly cpus: number;
  readonly vcpus: number;
  readonly vhe: boolean;
  readonly splitChunk: boolean;
  readonly manualLog: 0 | 1 | 3;
}

const LINEAR = 0xffff_0000_0000_0000n - 0x4000_0000n;
const PC = 0x8000_1000n;

/** ID registers of a machine with these features (DDI 0487: ID_AA64MMFR0_EL1, MMFR1, MMFR2, ISAR0, CTR_EL0), and its EL2 control registers. */
function registersOf({ granule, paBits, fwb, dic, ha, range, vhe }: Setup): Registers {
  const paRange = { 40: 2n, 48: 5n, 52: 6n }[paBits];
  const lpa2 = paBits === 52 && granule !== '64K';
  const stage2 = (code4: bigint, code16: bigint): bigint => (code4 << 40n) | (code16 << 32n) | (2n << 36n);
  const sizes = lpa2 ? (1n << 28n) | (2n << 20n) | stage2(3n, 3n) : (1n << 20n) | stage2(2n, 2n);
  return {
    ID_AA64MMFR0_EL1: paRange | sizes,
    ID_AA64MMFR1_EL1: ha ? 1n : 0n,
    ID_AA64MMFR2_EL1: fwb ? 1n << 40n : 0n,
    ID_AA64ISAR0_EL1: range ? 2n << 56n : 0n,
    CTR_EL0: 0x8444_c004n | (dic ? 1n << 29n : 0n),
    HCR_EL2: 1n | (vhe ? 1n << 34n : 0n) | (fwb ? 1n << 46n : 0n),
    TCR_EL2: 16n,
  };
}

/** One run: a VM is driven by a random program of causes, and what its policy does is written down as a kernel's trace would have it. */
export class Program {
  readonly #random: Random;
  readonly #recorder: RunRecorder;
  readonly #vm: Vm;
  readonly #vcpus: Vcpu[] = [];
  readonly #host: SimulatedHost;
  readonly #setup: Setup;
  readonly #found = newLookup();
  readonly #sizes: { readonly page: number; readonly pmd: number };
  readonly #logs = new Map<string, string>();
  /** User addresses of slots begin here; each gets a place of its own. */
  #nextHva = 0x7f00_0000_0000;
  #checkpoints = 0;

  constructor(setup: Setup) {
    this.#setup = setup;
    this.#random = new Random(setup.seed);
    const registers = registersOf(setup);
    const profile = kernelProfile(setup.kernel);
    const pageShift = { '4K': 12, '16K': 14, '64K': 16 }[setup.granule];
    this.#sizes = blockSizes(setup.granule);
    this.#host = new SimulatedHost(this.#sizes.page, this.#sizes.pmd, this.#random, setup.paBits);
    const [major, minor] = setup.kernel.split('.').map(Number);
    this.#recorder = new RunRecorder({
      run: `emitted-${setup.seed}`, cpu: 'model', kernel: `Linux host ${setup.kernel}.3-test #1 SMP aarch64 GNU/Linux`,
      layout: major * 1000 + minor >= 6019 ? 'px-ux' : 'x', registers, linearOffset: LINEAR,
      icacheLimit: profile.icacheAllAbove === 'never' ? Infinity : 2 ** (pageShift - 3) * 64,
    });
    const features = armv8.registers.features(registers);
    const host: HostProfile = { granule: setup.granule, vaBits: 48, features: { ...features, ttl: true, tlbirange: setup.range }, hardwareAccessFlag: setup.ha, tlbRange: setup.range };
    this.#vm = this.#recorder.step('KVM_CREATE_VM', { type: setup.ipaBits }, () => valueOf(createVm({
      backend: armv8, kernel: profile, host, type: setup.ipaBits, memory: createTableArena({ pageShift, base: 2 ** 30 }), hostMemory: this.#host,
      vmids: new VmidAllocator(features.vmidBits), sink: this.#recorder.sink, trace: this.#recorder.trace,
    })));
    this.#recorder.attach(this.#vm);
    this.#host.notify = (start, end) => this.#notifier(start, end);
  }

  files(): ReadonlyMap<string, Uint8Array | string> {
    return new Map([...this.#recorder.files(), ...this.#logs]);
  }

  run(actions: number): this {
    this.#prepare();
    for (let i = 0; i < actions; i++) {
      if (this.#random.chance(65)) this.#guest();
      else this.#vmm();
      if (i % 20 === 19) this.#checkpoint();
    }
    this.#checkpoint();
    return this;
  }

  #checkpoint(): void {
    this.#checkpoints += 1;
    this.#recorder.checkpoint(`c${this.#checkpoints}`);
  }

  #prepare(): void {
    for (let id = 0; id < this.#setup.vcpus; id++) {
      this.#recorder.step('KVM_CREATE_VCPU', { vcpu: id }, () => this.#vcpus.push(this.#vm.addVcpu()));
    }
    if (this.#setup.splitChunk) {
      this.#recorder.step('KVM_ENABLE_CAP', { cap: 'KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE', args: [this.#sizes.pmd] }, () => valueOf(setSplitChunk(this.#vm, this.#sizes.pmd)));
    }
    if (this.#setup.manualLog > 0) {
      this.#recorder.step('KVM_ENABLE_CAP', { cap: 'KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2', value: this.#setup.manualLog }, () => {
        this.#vm.manualDirtyLog = this.#setup.manualLog === 3 ? 'initially-set' : 'manual';
      });
    }
    for (let slot = 0; slot < 5; slot++) this.#addSlot(slot);
  }

  /** A slot with memory of some kind behind it, where its number puts it; its addresses agree below a PMD, or only below a page. */
  #addSlot(slot: number): void {
    const { page, pmd } = this.#sizes;
    const kind = this.#random.of(['anonymous', 'anonymous', 'small', 'hugetlb', 'device'] as const);
    const size = kind === 'hugetlb' ? 2 * pmd : this.#random.of([page, 7 * page, pmd, 2 * pmd + 3 * page]);
    const skew = kind === 'hugetlb' || this.#random.chance(50) ? 0 : page * this.#random.below(3);
    const hva = this.#nextHva + skew;
    this.#nextHva += Math.ceil((size + skew) / pmd + 2) * pmd;
    const area = this.#area(kind, hva, size);
    const ipa = (slot + 1) * 8 * Math.max(pmd, 2 ** 26) % (2 ** this.#setup.ipaBits / 2);
    const region = { slot, ipa, size, hva, readonly: this.#random.chance(10) };
    this.#host.areas.push(area);
    this.#region(region, 0);
  }

  #area(kind: 'anonymous' | 'small' | 'hugetlb' | 'device', start: number, bytes: number): HostArea {
    const { page, pmd } = this.#sizes;
    const length = { addr: hex(start), len: hex(bytes) };
    const common = { start, end: start + bytes, writable: true };
    const mapped: HostArea = kind === 'device'
      ? { ...common, kind, pageBytes: page, memory: 'device', physical: 2 ** 38 + start % 2 ** 37 }
      : { ...common, kind: kind === 'hugetlb' ? kind : 'anonymous', pageBytes: kind === 'small' ? page : pmd, memory: 'normal' };
    const name = { anonymous: 'anon-thp', small: 'anon-pages', hugetlb: 'hugetlb-default', device: 'pfnmap-device' }[kind];
    const extra = mapped.physical === undefined ? {} : { physicalAddress: hex(mapped.physical) };
    this.#recorder.step('mmap', { ...length, prot: 'PROT_READ|PROT_WRITE', kind: name, ...extra, ...(kind === 'hugetlb' ? { hugePageSize: hex(pmd) } : {}) }, () => {});
    if (kind === 'small') this.#recorder.step('madvise', { ...length, advice: 'MADV_NOHUGEPAGE' }, () => {});
    return mapped;
  }

  #region({ slot, ipa, size, hva, readonly = false }: { slot: number; ipa: number; size: number; hva: number; readonly?: boolean }, log: 0 | 1): boolean {
    const region = { slot, ipa, size, hva, readonly, logDirty: log === 1 };
    const args = { slot, flags: log + (readonly ? 2 : 0), guest_phys_addr: hex(ipa), memory_size: hex(size), userspace_addr: hex(hva) };
    // What the kernel answers is known before the step is written down: the VMM was told.
    const planned = this.#vm.slots.plan(region);
    const device = log === 1 && this.#host.areaAt(hva)?.kind === 'device';
    if (planned.kind !== 'done' || device) return false;
    this.#recorder.step('KVM_SET_USER_MEMORY_REGION', args, () => valueOf(setMemoryRegion(this.#vm, region)));
    return true;
  }

  #slots(): readonly Slot[] {
    return this.#vm.slots.inKernelOrder();
  }

  #notifier(start: number, end: number): void {
    this.#recorder.event({ event: 'kvm_unmap_hva_range', fields: { start, end } });
    notifierUnmap(this.#vm, start, end);
  }

  /** The VMM, or the host behind its back, does something. */
  #vmm(): void {
    const slot = this.#random.of(this.#slots());
    const { page } = this.#sizes;
    const pages = slot.size / page;
    const first = this.#random.below(pages);
    const count = 1 + this.#random.below(Math.min(pages - first, 600));
    const [start, end] = [slot.hva + first * page, slot.hva + (first + count) * page];
    const ram = this.#host.areaAt(slot.hva)?.kind === 'anonymous';
    switch (this.#random.below(9)) {
      case 0:
        if (ram) this.#recorder.step('madvise', { addr: hex(start), len: hex(end - start), advice: 'MADV_DONTNEED' }, () => this.#host.drop(start, end));
        break;
      case 1:
        if (ram) this.#host.freeze(start, end);
        break;
      case 2:
        this.#age(start, Math.min(end, start + 3 * page), this.#random.chance(50));
        break;
      case 3:
        this.#region({ ...slot, slot: slot.id }, slot.dirty === undefined ? 1 : 0);
        break;
      case 4:
      case 5:
        this.#log(slot, first, count);
        break;
      case 6:
        this.#move(slot);
        break;
      case 7:
        if (ram && this.#random.chance(40)) this.#protect(slot);
        break;
      default:
        if (this.#random.chance(30)) this.#recreate(slot);
    }
  }

  #age(start: number, end: number, clear: boolean): void {
    if (clear) this.#recorder.event({ event: 'kvm_age_hva', fields: { start, end } });
    else this.#recorder.event({ event: 'kvm_test_age_hva', fields: { hva: start } });
    const young = notifierAge(this.#vm, start, clear ? end : start + 1, clear);
    this.#recorder.event({ event: 's2_test_clear_young_ret', fields: { ret: young ? 1 : 0 } });
  }

  #log(slot: Slot, first: number, count: number): void {
    if (slot.dirty === undefined) return;
    const { page } = this.#sizes;
    if (this.#setup.manualLog > 0 && this.#random.chance(60)) {
      const from = first - (first % 64);
      const to = Math.min(slot.dirty.pages, Math.ceil((first + count) / 64) * 64);
      const wanted = new Set(Array.from({ length: to - from }, (_, i) => from + i).filter((each) => slot.dirty!.has(each)));
      const args = { slot: slot.id, first_page: from, num_pages: to - from };
      this.#recorder.step('KVM_CLEAR_DIRTY_LOG', args, () => valueOf(clearDirtyLog(this.#vm, slot.id, from, to - from, (each) => wanted.has(each))));
      return;
    }
    const file = `log${this.#logs.size}.txt`;
    const list = slot.dirty.list();
    this.#logs.set(file, list.map((each) => hex(slot.ipa + each * page)).join('\n'));
    this.#recorder.step('KVM_GET_DIRTY_LOG', { slot: slot.id }, () => valueOf(getDirtyLog(this.#vm, slot.id)), { dirtyPages: list.length, file });
  }

  #move(slot: Slot): void {
    const { ipa, size, hva, id, readonly, dirty } = slot;
    const to = (ipa + this.#sizes.page * (1 + this.#random.below(600))) % (2 ** this.#setup.ipaBits - size);
    this.#region({ slot: id, ipa: to - (to % this.#sizes.page), size, hva, readonly }, dirty === undefined ? 0 : 1);
  }

  #protect({ hva, size }: Slot): void {
    const at = this.#host.areas.findIndex(({ start }) => start === hva);
    const writable = !this.#host.areas[at].writable;
    const prot = writable ? 'PROT_READ|PROT_WRITE' : 'PROT_READ';
    this.#recorder.step('mprotect', { addr: hex(hva), len: hex(size), prot }, () => {
      this.#host.areas[at] = { ...this.#host.areas[at], writable };
      this.#host.freeze(hva, hva + size);
    });
  }

  #recreate({ id, ipa, size, hva }: Slot): void {
    const args = { slot: id, flags: 0, guest_phys_addr: hex(ipa), memory_size: hex(0), userspace_addr: hex(hva) };
    this.#recorder.step('KVM_SET_USER_MEMORY_REGION', args, () => valueOf(setMemoryRegion(this.#vm, { slot: id, ipa, size: 0, hva })));
    this.#host.areas.splice(this.#host.areas.findIndex(({ start }) => start === hva), 1);
    this.#recorder.step('munmap', { addr: hex(hva), len: hex(size) }, () => this.#host.drop(hva, hva + size));
    this.#addSlot(id);
  }

  /** A vCPU runs for some accesses. */
  #guest(): void {
    const id = this.#random.below(this.#vcpus.length);
    const vcpu = this.#vcpus[id];
    const cpu = this.#random.below(this.#setup.cpus);
    const task = this.#vcpus.length === 1 ? { task: 'vmm', pid: 60, cpu } : { task: `CPU ${id}/KVM`, pid: 70 + id, cpu };
    const args = { vcpu: id, ...(this.#vcpus.length === 1 ? {} : { tid: task.pid }) };
    this.#recorder.step('KVM_RUN', args, () => this.#recorder.as(task, () => {
      this.#vm.load(vcpu, cpu);
      this.#recorder.event({ event: 'kvm_exit', fields: { exit: 'IRQ', ec: 0, name: 'UNKNOWN', pc: PC } });
      for (let i = 1 + this.#random.below(6); i > 0; i--) {
        if (this.#random.chance(12)) this.#cacheOperation(vcpu);
        else this.#access(vcpu);
      }
      this.#recorder.event({ event: 'kvm_userspace_exit', fields: { reason: 'KVM_EXIT_MMIO', code: 6 } });
    }));
  }

  #cacheOperation(vcpu: Vcpu): void {
    const setWay = this.#random.chance(50);
    const sctlr = this.#random.chance(50);
    const now = sctlr ? this.#random.chance(50) : vcpu.cachesOn;
    const trapped = setWay || vcpu.tvm;
    const fields = { pc: PC, name: setWay ? 'DC_CISW' : sctlr ? 'SCTLR_EL1' : 'TTBR0_EL1', ...(setWay ? { op0: 1, op1: 0, crn: 7, crm: 14, op2: 2 } : { op0: 3, op1: 0, crn: sctlr ? 1 : 2, crm: 0, op2: 0 }), access: 'write' };
    if (trapped) {
      this.#recorder.event({ event: 'kvm_exit', fields: { exit: 'TRAP', ec: 0x18, name: 'SYS64', pc: PC } });
      this.#recorder.event({ event: 'kvm_sys_access', fields });
    }
    if (setWay) linuxCaches.setWay(this.#vm, vcpu, PC);
    else linuxCaches.vmRegister(this.#vm, vcpu, PC, now);
  }

  /** One access of the guest: what the hardware finds in the table decides whether it faults. */
  #access(vcpu: Vcpu): void {
    const { page } = this.#sizes;
    const slot = this.#random.of(this.#slots());
    const inside = this.#random.chance(93);
    const near = this.#random.chance(70) ? this.#random.below(Math.min(slot.size / page, 8)) : this.#random.below(slot.size / page);
    const ipa = (inside ? slot.ipa + near * page : 0x900_0000) + this.#random.below(page / 4096) * 4096;
    const kind = this.#random.of(['read', 'write', 'write', 'fetch'] as const);
    const code = this.#faultCode(ipa, kind);
    if (code === undefined) return;
    const [fetch, write] = [kind === 'fetch', kind === 'write'];
    const esr = (BigInt(fetch ? 0x20 : 0x24) << 26n) | (1n << 25n) | BigInt(code | (write ? 0x40 : 0) | (fetch ? 0 : 0x180_0000));
    const far = BigInt(ipa) + 8n;
    this.#recorder.event({ event: 'kvm_exit', fields: { exit: 'TRAP', ec: fetch ? 0x20 : 0x24, name: fetch ? 'IABT_LOW' : 'DABT_LOW', pc: PC } });
    this.#recorder.event({ event: 'kvm_guest_fault', fields: { ipa, hsr: Number(esr), hxfar: far, pc: PC } });
    const outcome = guestAbort(this.#vm, vcpu, { esr, far, ipa, pc: PC }, { since: this.#vm.invalidations });
    if (outcome.kind === 'done' && (outcome.value.did === 'mapped' || outcome.value.did === 'relaxed')) {
      this.#recorder.event({ event: outcome.value.did === 'mapped' ? 's2_map_ret' : 's2_relax_perms_ret', fields: { ret: 0 } });
    } else if (outcome.kind === 'retry' && outcome.id === 'map.already-mapped') {
      this.#recorder.event({ event: 's2_map_ret', fields: { ret: -11 } });
    }
  }

  /** DFSC of the fault that an access takes (DDI 0487 ESR_EL2.DFSC); undefined: none. */
  #faultCode(ipa: number, kind: 'read' | 'write' | 'fetch'): number | undefined {
    const { table, format } = this.#vm;
    const at = this.#found;
    if (!table.lookup(ipa, at) || at.kind !== ENTRY.leaf) {
      return at.level < 0 ? 0x2b : 4 + at.level;
    }
    const leaf = format.decodeLeaf(at.lo, at.hi, at.level);
    if (!leaf.af && this.#setup.ha) this.#recorder.unseen(() => table.makeYoung(ipa));
    else if (!leaf.af) return 8 + at.level;
    const allowed = kind === 'write' ? leaf.write : kind === 'fetch' ? leaf.px && leaf.ux : leaf.read;
    return allowed ? undefined : 12 + at.level;
  }
}

const hex = (value: number): string => `0x${value.toString(16)}`;
