import { type GuestMemory, type NestedFault, type NestedGuest, type NestedState, type Outcome, type ShadowContext, type ShadowStage2, DONE, done, retry } from '@granule/contract';
import { alignDown, type InputAddress } from '@granule/geometry/bits';
import { type ContextKey, createShadowStage2, GuestWalker, oneToOne, type ShadowEvent, tlbiTarget } from '@granule/nested';
import type { Handled } from '../abort.js';
import type { Stage2 } from '../stage2.js';
import type { Abort } from '../syndrome.js';
import type { Vcpu, Vm } from '../vm.js';
import type { FaultPlace } from './place.js';
import { ShadowTables } from './shadow-tables.js';

/** A VM whose guest sees an EL2. */
export interface NestedOptions {
  /** The machine that it sees. Its PARange is the input size of the shadows. */
  readonly guest: NestedGuest;
  /** Memory at the VM's IPAs, where the guest hypervisor keeps its tables. */
  readonly memory: GuestMemory;
  /** Default `vttbr+vtcr`. */
  readonly key?: ContextKey;
  /** What the nested layer does, for the history of an entry. */
  readonly on?: (event: ShadowEvent) => void;
}

/** One vCPU with a virtual EL2. */
interface VirtualEl2 {
  /** By the nested layer. */
  readonly number: number;
  /** It runs its own code, not a guest's: with the VM's own stage 2. */
  atEl2: boolean;
  /** What it runs a guest with. */
  state: NestedState;
  /** hw_mmu, where that is a shadow. */
  context: ShadowContext | undefined;
  pe: number;
}

const AT_RESET: NestedState = { vttbr: 0n, vtcr: 0n, stage2: false };
/** A walk that is to change nothing goes on as if an access flag had been set. */
const PRETEND: Pick<GuestMemory, 'exchange'> = { exchange: () => 'done' };

/**
 * The shadow stage 2s of a VM, joined to its policy: which of them a vCPU runs with, what faults and invalidations of the guest hypervisor come to. The nested
 * layer decides, the stage 2s are this package's. Source: Linux arch/arm64/kvm/nested.c.
 */
export class NestedVm {
  readonly layer: ShadowStage2;
  readonly #tables: ShadowTables;
  readonly #walker: GuestWalker;
  readonly #vcpus = new Map<Vcpu, VirtualEl2>();

  private constructor(
    readonly vm: Vm,
    readonly options: NestedOptions,
    tables: ShadowTables,
    layer: ShadowStage2,
  ) {
    this.#tables = tables;
    this.layer = layer;
    this.#walker = new GuestWalker(options.guest, { read: (ipa, into) => options.memory.read(ipa, into), ...PRETEND });
  }

  /** Not modelled: `nested.not-supported`. */
  static open(vm: Vm, options: NestedOptions): Outcome<NestedVm> {
    const { guest, memory, key, on } = options;
    const tables = new ShadowTables(vm, guest.paBits);
    const tell = (event: ShadowEvent): void => {
      on?.(event);
      trace(vm, event);
    };
    const layer = createShadowStage2({ guest, memory, host: tables, on: tell, ...(key === undefined ? {} : { key }) });
    return layer.kind === 'done' ? done(new NestedVm(vm, options, tables, layer.value)) : layer;
  }

  /** All that there are, valid or not; mmu n stands at n − 1. */
  get shadows(): readonly Stage2[] {
    return this.#tables.shadows;
  }

  /** KVM_ARM_VCPU_INIT with KVM_ARM_VCPU_HAS_EL2: the vCPU brings its contexts, once. Refused as the host refuses a stage 2. */
  initVcpu(vcpu: Vcpu): Outcome<undefined> {
    if (this.#vcpus.has(vcpu)) {
      return DONE;
    }
    const number = this.layer.addVcpu();
    if (number.kind !== 'done') {
      return number;
    }
    this.#vcpus.set(vcpu, { number: number.value, atEl2: true, state: AT_RESET, context: undefined, pe: 0 });
    return DONE;
  }

  /** The context that a vCPU runs with; undefined: the VM's own stage 2. */
  contextOf(vcpu: Vcpu): ShadowContext | undefined {
    return this.#vcpus.get(vcpu)?.context;
  }

  /** The registers with which a vCPU runs its guest, loaded or not; undefined: it is at virtual EL2. */
  guestOf(vcpu: Vcpu): NestedState | undefined {
    const own = this.#vcpus.get(vcpu);
    return own === undefined || own.atEl2 ? undefined : own.state;
  }

  /** The stage 2 that a vCPU runs with. */
  stage2Of(vcpu: Vcpu): Stage2 {
    const context = this.contextOf(vcpu);
    return context === undefined ? this.vm : this.shadows[context.index];
  }

  /** A vCPU is loaded on a PE (kvm_vcpu_load_hw_mmu, kvm_arch_vcpu_load); answers its VMID. */
  load(vcpu: Vcpu, pe: number): number {
    const own = this.#vcpus.get(vcpu);
    if (own !== undefined) {
      own.pe = pe;
      if (!own.atEl2) {
        own.context = this.layer.load(own.number, own.state);
      }
    }
    return this.stage2Of(vcpu).load(vcpu, pe, own?.atEl2 === true ? 'virtual-el2' : 'el1');
  }

  /** It is put: `keep` where it is only scheduled out, and not waiting for an interrupt (kvm_vcpu_put_hw_mmu). */
  put(vcpu: Vcpu, { keep = false }: { readonly keep?: boolean } = {}): void {
    const own = this.#vcpus.get(vcpu);
    if (own === undefined) {
      return;
    }
    this.stage2Of(vcpu).put(own.pe);
    if (!keep) {
      this.layer.put(own.number);
      own.context = undefined;
    }
  }

  /** The guest hypervisor's ERET into its guest. */
  enter(vcpu: Vcpu, state: NestedState, pe: number): void {
    this.#switch(vcpu, false, pe, state);
  }

  /** An exception to virtual EL2. */
  leave(vcpu: Vcpu): void {
    this.#switch(vcpu, true);
  }

  #switch(vcpu: Vcpu, atEl2: boolean, pe?: number, state?: NestedState): void {
    const own = this.#vcpus.get(vcpu);
    if (own !== undefined) {
      this.put(vcpu);
      own.atEl2 = atEl2;
      own.state = state ?? own.state;
      this.load(vcpu, pe ?? own.pe);
    }
  }

  /** What the former guest of its context left goes before a vCPU enters its own (check_nested_vcpu_requests). */
  beforeEntry(vcpu: Vcpu): void {
    const own = this.#vcpus.get(vcpu);
    if (own !== undefined) {
      this.layer.beforeEntry(own.number);
    }
  }

  /** A fault on the way from the address of a nested guest to the VM's IPA: where it is to be mapped, or what else came of it. `retry`: as the layer. */
  place(vcpu: Vcpu, abort: Abort): Outcome<FaultPlace | Handled> {
    const own = this.#vcpus.get(vcpu);
    if (own?.context === undefined) {
      return done({ stage2: this.vm, address: abort.ipa, ipa: abort.ipa });
    }
    const decision = this.layer.fault(own.number, nestedFault(abort));
    switch (decision.did) {
      case 'retry':
        return retry('nested.entry-changed', "The guest hypervisor's entry changed while its access flag was to be set; the guest faults again.", 'Linux kvm_walk_nested_s2: -EAGAIN');
      case 'forward':
        this.vm.tell({ event: 'kvm_inject_nested_exception', fields: { esr: decision.esr } });
        this.leave(vcpu);
        return done({ did: 'forwarded', esr: decision.esr });
      case 'map':
        return done({ stage2: this.stage2Of(vcpu), address: abort.ipa, ipa: decision.limits.ipa, ...(own.context.stage2 ? { limits: decision.limits } : {}) });
    }
  }

  /** Where an address that a vCPU's nested guest uses would be mapped, nothing done; undefined: its hypervisor's tables do not tell, or it runs none. */
  translate(vcpu: Vcpu, address: InputAddress): FaultPlace | undefined {
    const own = this.#vcpus.get(vcpu);
    if (own?.context === undefined) {
      return undefined;
    }
    const stage2 = this.stage2Of(vcpu);
    if (!own.context.stage2) {
      return { stage2, address, ipa: oneToOne(address).ipa };
    }
    const walk = this.#walker.walk(own.state, address);
    if (walk.kind !== 'mapped') {
      return undefined;
    }
    const { output, blockBytes, read, write, executeEl1, executeEl0, level } = walk;
    return { stage2, address, ipa: output, limits: { ipa: output, maxBytes: blockBytes, read, write, executeEl1, executeEl0, level } };
  }

  /** A TLBI of the guest hypervisor's, with its registers as they stand. Refused: `tlbi.undefined`, `tlbi.unknown`. */
  tlbi(state: NestedState, name: string, operand: bigint): Outcome<undefined> {
    return this.layer.tlbi(state, name, operand);
  }

  /** The same where the operand is not known, but what came of it: the VMID that was looked for, and what was unmapped of which shadow. */
  tlbiGiven(name: string, vmid: number, unmapped: readonly { readonly mmu: number; readonly start: InputAddress; readonly size: number }[]): Outcome<undefined> {
    const target = tlbiTarget(name, 0n, this.options.guest);
    if (target.kind !== 'done') {
      return target;
    }
    if (target.value.target !== 'vncr') {
      this.vm.tell(target.value.target === 'all' ? { event: 'nested_s2_unmap', fields: {} } : { event: 's2_mmu_iterate_by_vmid', fields: { vmid } });
      unmapped.filter(({ mmu }) => this.shadows[mmu - 1] !== undefined).forEach(({ mmu, start, size }) => this.#tables.unmap(mmu - 1, start, start + size));
    }
    return DONE;
  }
}

/** The layer's events under the names of the kernel's probes. */
function trace(vm: Vm, event: ShadowEvent): void {
  switch (event.event) {
    case 'lookup':
      vm.tell({ event: 'lookup_s2_mmu', fields: {} });
      vm.tell({ event: 'lookup_s2_mmu_ret', fields: { found: event.found === undefined ? 0 : event.found + 1 } });
      break;
    case 'walk':
      vm.tell({ event: 'walk_nested_s2', fields: { ipa: alignDown(event.ipa, 12) } });
      break;
    case 'by-vmid':
      vm.tell({ event: 's2_mmu_iterate_by_vmid', fields: { vmid: event.vmid } });
      break;
    case 'unmap-all':
      vm.tell({ event: 'nested_s2_unmap', fields: {} });
      break;
    case 'write-protect-all':
      vm.tell({ event: 'nested_s2_wp', fields: {} });
      break;
    case 'flush-all':
      vm.tell({ event: 'nested_s2_flush', fields: {} });
      break;
    case 'taken':
    case 'decided':
    case 'unmap':
  }
}

function nestedFault({ ipa, cause, execute, write, privileged, registers }: Abort): NestedFault {
  return { ipa, esr: registers.esr, permission: cause === 'permission', fetch: execute, write, privileged };
}
