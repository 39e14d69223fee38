import { type NestedGuest, type NestedState as GuestState, type Outcome, type ShadowContext, DONE } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import { hex } from '@granule/geometry/bits';
import type { FaultPlace, NestedOptions, NestedVm, Vcpu, Vm } from '@granule/kvm';
import type { ShadowEvent } from '@granule/nested';
import type { DecodedEvent, NestedState, TraceFields } from '@granule/snapshot';
import { tableOf } from '../image/nested-regimes.js';
import type { EnteredContext, GuestHypervisor } from '../nested/hypervisor.js';
import type { KernelTables, PlacedTable } from '../replay/kernel-tables.js';
import { attributesOf, permissionsOf, type ProtLayout } from '../replay/prot.js';
import type { TableNumbers } from './actual.js';
import type { FollowingCalls } from './following.js';
import type { NestedReport, Undetermined } from './report.js';

export interface NestedInput {
  /** By number − 1; undefined where no checkpoint knows the table. */
  readonly shadows: readonly (PlacedTable | undefined)[];
  /** The machine that the guest hypervisor sees. */
  readonly guest: NestedGuest;
  readonly hypervisor: GuestHypervisor;
  /** Whether the trace has steps of large unmaps: where a shadow is walked whole they are very many, and nested runs filter them out. */
  readonly largeStepsTraced: boolean;
  /** Entries of its tables by its program, beside those in its memory at the checkpoints; none compared: its program is not known. */
  readonly guestEntries: { readonly equal: number; readonly total: number };
}

/** As the VMM asks for a virtual EL2. */
export const HAS_EL2 = 'KVM_ARM_VCPU_HAS_EL2';

/** HCR_EL2.VM. */
const HCR_VM = 1n;

/** Bytes of a step from which on nested runs filter it out (see the README of recorded runs). */
const LARGE_STEP = 2 ** 25;

/** A step of an unmap, write-protection or flush that the filter of nested runs keeps out of the trace. */
export function isLargeStep({ event, fields }: { readonly event: string; readonly fields: object }): boolean {
  const { size } = fields as { readonly size?: unknown };
  return ['s2_unmap', 's2_wrprotect', 's2_flush'].includes(event) && typeof size === 'number' && size >= LARGE_STEP;
}

/** What the policy is told of a VM with a virtual EL2. */
export function nestedOptions({ guest, hypervisor }: NestedInput, driver?: NestedDriver): NestedOptions {
  return {
    guest,
    on: (event) => driver?.decided(event),
    memory: {
      read: (ipa, into) => hypervisor.memory?.read(ipa, into) ?? false,
      exchange: (ipa, expected, value) => hypervisor.memory?.exchange?.(ipa, expected, value) ?? 'not-memory',
    },
  };
}

/** A cause that an event tells. */
export interface NestedCause {
  readonly name: string;
  readonly sentence: string;
  readonly run: () => unknown;
}

/** Drives the nested part of the policy: what the guest hypervisor does, by the events of the trace and what is known of its program. */
export class NestedDriver {
  /** What the guest hypervisor's entry leaves of the fault under way. */
  limits: FaultPlace['limits'];
  #fault: { readonly address: InputAddress; readonly ipa: InputAddress } | undefined;
  /** What nothing but the kernel's own calls tells. */
  readonly undetermined = { contexts: 0, operands: 0 };
  /** Numbers of shadows whose context's key is not known. */
  readonly #unknownContexts = new Set<number>();
  readonly #input: NestedInput;
  readonly #onForward: (shadow: number, ipa: InputAddress, sentence: string) => void;
  readonly #contexts = { equal: 0, total: 0 };
  #nested: NestedVm | undefined;
  /** The one that ran last. */
  #vcpu: Vcpu | undefined;

  /** @param onForward a fault went to the guest hypervisor: number of the shadow, address, why */
  constructor(input: NestedInput, onForward: (shadow: number, ipa: InputAddress, sentence: string) => void = () => undefined) {
    this.#input = input;
    this.#onForward = onForward;
  }

  decided(event: ShadowEvent): void {
    if (event.event === 'decided' && event.decision.did === 'forward') {
      this.#onForward(event.context + 1, event.ipa, event.decision.sentence);
    }
  }

  /** The trace comes to a checkpoint: what runs there is the kernel's. */
  reached(state: NestedState | undefined): void {
    const { current } = state ?? {};
    if (current === undefined || this.#vcpu === undefined || this.#nested === undefined) {
      return;
    }
    const guest = this.#nested.guestOf(this.#vcpu);
    const context = guest && this.#nested.layer.contexts.find((each) => each.valid && isFor(each, guest));
    const number = context === undefined ? 0 : context.index + 1;
    const placed = this.#input.shadows[number - 1];
    const sameRoot = placed?.root === undefined || placed.root === tableOf(current.hwVTTBR);
    const key = context !== undefined && context.vttbr === current.virtVTTBR - (current.virtVTTBR & 1n) && context.vtcr === current.virtVTCR;
    this.#contexts.total += 1;
    this.#contexts.equal += sameRoot && (key || this.#unknownContexts.has(number)) ? 1 : 0;
  }

  report(known: readonly KernelTables[]): NestedReport {
    const { hypervisor, guestEntries, shadows } = this.#input;
    const seen = new Map(known.flatMap(({ nested }) => nested?.shadowsSeen ?? []).map((each) => [tableOf(each.hwVTTBR), each]));
    const pairs = (this.#nested?.shadows ?? []).map(({ vtcr, vmid, mmu }) => {
      const root = shadows[mmu - 1]?.root;
      const kernel = root === undefined ? undefined : seen.get(root);
      return {
        number: mmu, ...(root === undefined ? {} : { root: hex(root) }),
        vtcr: { ours: hex(vtcr, 1), ...(kernel && { kernel: hex(kernel.hwVTCR, 1) }) },
        vmid: { ours: vmid, ...(kernel && { kernel: Number(kernel.hwVTTBR >> 48n) }) },
      };
    });
    const why = hypervisor.problem;
    return { hypervisor: why === undefined ? 'ops.txt' : 'checkpoints', ...(why === undefined ? {} : { why }), guestEntries, contexts: this.#contexts, shadows: pairs };
  }

  undeterminedOf(filtered: number): readonly Undetermined[] {
    const { contexts, operands } = this.undetermined;
    const all = [
      [filtered, 'calls of s2_unmap, s2_wrprotect or s2_flush over 32 MiB and more', 'nested runs filter them out of the trace, since a shadow is walked whole in very many of them'],
      [contexts, 'entries of a nested guest', 'nothing tells the VTTBR_EL2 with which it was entered; which shadow the kernel took is given'],
      [operands, 'TLB invalidations of the guest hypervisor', 'nothing tells their operand; the range that the kernel unmapped is given'],
    ] as const;
    return all.flatMap(([count, what, reason]) => (count === 0 ? [] : [{ what, count, reason }]));
  }

  /** KVM_ARM_VCPU_INIT. */
  initVcpu(vm: Vm, vcpu: Vcpu, features: unknown): Outcome<undefined> {
    this.#nested = vm.nested;
    return Array.isArray(features) && features.includes(HAS_EL2) ? (vm.nested?.initVcpu(vcpu) ?? DONE) : DONE;
  }

  /** It is on a PE. */
  load(vcpu: Vcpu, pe: number): void {
    this.#vcpu = vcpu;
    this.#nested?.load(vcpu, pe);
  }

  /** The vCPU goes to userspace, or sleeps. */
  put(vcpu: Vcpu): void {
    this.#nested?.put(vcpu);
  }

  owesEntry(vcpu: Vcpu): boolean {
    return this.#nested?.contextOf(vcpu)?.pendingUnmap === true;
  }

  beforeEntry(vcpu: Vcpu): void {
    this.#nested?.beforeEntry(vcpu);
  }

  /** Whether an event is something that the guest hypervisor does or is told, and not what the policy comes to at a fault. */
  isCause({ event, fields }: DecodedEvent, faultUnderWay: boolean): boolean {
    if (event === 'kvm_inject_nested_exception') {
      return !(faultUnderWay && fields.exception === 'SYNC');
    }
    return event === 'kvm_nested_eret' || (event === 'kvm_sys_access' && isInvalidation(fields));
  }

  cause(vcpu: Vcpu, pe: number, { event, fields }: DecodedEvent, following: FollowingCalls): NestedCause | undefined {
    const nested = this.#nested;
    if (nested === undefined) {
      return undefined;
    }
    if (event === 'kvm_nested_eret') {
      return this.#entry(nested, vcpu, pe, fields.hcr, following);
    }
    if (event === 'kvm_inject_nested_exception') {
      return { name: 'exceptions to virtual EL2', sentence: `exception to virtual EL2, ESR ${hex(fields.esr, 8)}`, run: () => nested.leave(vcpu) };
    }
    return event === 'kvm_sys_access' ? this.#invalidation(nested, invalidationName(fields), following) : undefined;
  }

  #entry(nested: NestedVm, vcpu: Vcpu, pe: number, hcr: bigint, following: FollowingCalls): NestedCause {
    const told = this.#input.hypervisor.enter();
    const context = told ?? this.#contextOf(nested, following.found ?? 0);
    const sentence = told === undefined ? 'nested guest entered with a context that nothing tells' : `nested guest entered with VTTBR_EL2 ${hex(told.vttbr, 1)}`;
    const run = (): void => {
      nested.enter(vcpu, { ...context, stage2: (hcr & HCR_VM) === HCR_VM }, pe);
      const number = nested.stage2Of(vcpu).mmu;
      this.#unknownContexts.delete(number);
      if (told === undefined) {
        this.undetermined.contexts += 1;
        this.#unknownContexts.add(number);
      }
    };
    return { name: 'nested entries', sentence, run };
  }

  /** The context that the kernel found, or one that is like no other. */
  #contextOf(nested: NestedVm, found: number): EnteredContext {
    const context = nested.layer.contexts[found - 1];
    return context ?? { vttbr: BigInt(this.undetermined.contexts + 1) << 1n, vtcr: 0n };
  }

  /** Where the operand is not known it is given: by the VMID that the kernel looks for and the ranges that it unmaps. */
  #invalidation(nested: NestedVm, name: string, following: FollowingCalls): NestedCause {
    const told = this.#input.hypervisor.invalidate(name);
    const sentence = `trapped TLBI ${name}`;
    if (told !== undefined) {
      const state: GuestState = { vttbr: told.vttbr, vtcr: 0n, stage2: true };
      return { name: 'TLB invalidations', sentence, run: () => nested.tlbi(state, name, told.operand) };
    }
    this.undetermined.operands += 1;
    const { vmid = 0, unmapped } = following;
    return { name: 'TLB invalidations', sentence, run: () => nested.tlbiGiven(name, vmid, unmapped) };
  }

  /** Whether the nested guest runs with tables that nothing tells. */
  isUnknown(vcpu: Vcpu): boolean {
    return this.#nested?.contextOf(vcpu)?.stage2 === true && this.#input.hypervisor.memory === undefined;
  }

  /** Takes over what the kernel maps. */
  adopt({ event, fields }: DecodedEvent, layout: ProtLayout, tables: TableNumbers): void {
    if (event !== 's2_map' && event !== 's2_relax_perms') {
      return;
    }
    const shadow = this.#nested?.shadows[(tables.of(fields.pgt) ?? 0) - 1];
    const attributes = attributesOf(fields.prot, layout);
    if (event === 's2_map' && attributes.kind === 'done') {
      shadow?.table.map(fields.addr, fields.size, fields.phys, attributes.value, { mode: 'linux' });
    } else if (event === 's2_relax_perms') {
      const { read, write, px, ux } = permissionsOf(fields.prot, layout);
      shadow?.table.relaxPermissions(fields.addr, { read, write, ...(px || ux ? { px, ux } : {}) });
    }
  }

  /** A fault is about to be handled. */
  faultAt(vcpu: Vcpu, address: InputAddress): void {
    const place = this.#nested?.translate(vcpu, address);
    this.limits = place?.limits;
    this.#fault = place && { address, ipa: place.ipa };
  }

  /** The VM's IPA behind an address in the block of the fault under way. */
  ipaBehind(address: InputAddress): InputAddress | undefined {
    return this.#fault && this.#fault.ipa - (this.#fault.address - address);
  }
}

/** Whether a context is the one of a guest; it is the kernel's own rule, beside that of the layer. */
function isFor(context: ShadowContext, guest: GuestState): boolean {
  const same = context.vttbr === guest.vttbr - (guest.vttbr & 1n) && context.vtcr === guest.vtcr;
  return context.stage2 === guest.stage2 && (same || (!guest.stage2 && context.vttbr >> 48n === guest.vttbr >> 48n));
}

export const isInvalidation = ({ op0, crn, access }: TraceFields<'kvm_sys_access'>): boolean => access === 'write' && op0 === 1 && (crn === 8 || crn === 9);

/** Arm's name of a trapped TLB maintenance instruction: the kernel prints OP_TLBI_ before it. */
export function invalidationName({ name }: TraceFields<'kvm_sys_access'>): string {
  return name.replace(/^OP_TLBI_/u, '');
}
