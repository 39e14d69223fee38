import type { Backend, Format, NestedGuest, NestedLayer, NestedState, ShadowContext, ShadowDecision, ShadowStage2 } from '@granule/contract';
import { tableGeometry, type Granule, type Level } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import { ensure, type Budget } from '../law.js';
import { valueOf } from '../words.js';
import { ALL, Host, type Access, type Attempt, type HostLeaf, type ShadowHost } from './host.js';
import { abortSyndrome, vtcrOf, vttbrOf, type Vtcr } from './registers.js';
import { GuestTables, VmMemory } from './vm-memory.js';

/** Everything that one run of the suite is about. */
export interface NestedSubject {
  readonly layer: NestedLayer;
  readonly backend: Backend;
  readonly budget: Budget;
}

/** A law of nested layers. `check` throws under the name of the assertion that does not hold. */
export interface NestedLaw {
  readonly name: string;
  readonly sentence: string;
  readonly check: (subject: NestedSubject) => void;
}

/** Where an access of a nested guest ends. */
export type Reach =
  | (Attempt & { readonly kind: 'reached' })
  | { readonly kind: 'forwarded'; readonly decision: ShadowDecision & { did: 'forward' } }
  /** The host has nothing there, or does not permit it. */
  | { readonly kind: 'host' };

const MiB = 2 ** 20;
/** Where the host has the VM's memory. */
export const HOST_OFFSET = 2 ** 36;

/** The host maps the VM's memory one to one above {@link HOST_OFFSET}, by leaves of this size, with every right. */
export function flat(bytes: number): (ipa: number) => HostLeaf {
  return (ipa) => {
    const start = Math.floor(ipa / bytes) * bytes;
    return { start, bytes, output: start + HOST_OFFSET, rights: ALL };
  };
}

export interface BenchOptions {
  readonly guest?: Partial<NestedGuest>;
  readonly sizes?: readonly number[];
  readonly maps?: (ipa: number) => HostLeaf | undefined;
  readonly vcpus?: number;
  /** Who holds the shadows instead of lists. */
  readonly shadows?: ShadowHost;
}

/** A guest that may do everything that FEAT_* of the contract name. */
export function guestOf(backend: Backend, changes: Partial<NestedGuest> = {}): NestedGuest {
  const features = { granules2: ['4K', '16K', '64K'] as const, xnx: true, ttl: true, tlbirange: true, xs: true };
  return { backend, paBits: 48, ipaLimit: 48, hostGranule: '4K', features, ...changes };
}

/** The stage 2 of a guest hypervisor, legal: where its tables are, and the registers that say so. */
export interface GuestStage2 {
  readonly format: Format;
  readonly tables: GuestTables;
  readonly state: NestedState;
}

/** A VM with a virtual EL2: its memory, its host, and the layer under test between them. */
export class NestedBench {
  readonly memory = new VmMemory();
  readonly guest: NestedGuest;
  readonly host: Host;
  readonly shadow: ShadowStage2;
  readonly #shadows: ShadowHost;

  constructor(
    readonly subject: NestedSubject,
    { guest = {}, sizes = [4096, 2 * MiB], maps = flat(4096), vcpus = 1, shadows }: BenchOptions = {},
  ) {
    this.guest = guestOf(subject.backend, guest);
    this.host = new Host({ sizes, maps });
    this.#shadows = shadows ?? this.host;
    this.shadow = valueOf('nested.open', subject.layer.open({ guest: this.guest, memory: this.memory, host: this.#shadows }), 'open');
    for (let vcpu = 0; vcpu < vcpus; vcpu++) {
      const number = valueOf('contexts.vcpus', this.shadow.addVcpu(), 'addVcpu');
      ensure('contexts.vcpus', number === vcpu, () => `vCPU ${vcpu} is answered as ${number}`);
    }
    this.host.drain();
  }

  /** An empty stage 2 of the guest hypervisor, root at `root`, the tables below it from 1 MiB further on. */
  stage2(vtcr: Vtcr, { root = 0x8000_0000, vmid = 1, bigEndian = false }: { readonly root?: number; readonly vmid?: number; readonly bigEndian?: boolean } = {}): GuestStage2 {
    const { granule, inputBits, startLevel } = vtcr;
    const format = this.format(granule, inputBits, startLevel as Level);
    const state: NestedState = { vttbr: vttbrOf(vmid, root), vtcr: vtcrOf(vtcr), stage2: true, ...(bigEndian && { bigEndian }) };
    return { format, state, tables: new GuestTables(this.memory, format, root, root + 2 * MiB, bigEndian) };
  }

  format(granule: Granule, inputBits: number, startLevel: Level): Format {
    const geometry = tableGeometry({ stage: 2, granule, iaBits: inputBits, oaBits: 48, startLevel, ds: false });
    const { xnx } = this.guest.features;
    return valueOf('nested.format', this.subject.backend.format('s2', { geometry, features: { xnx, paBits: 48 } }), `${granule} format`);
  }

  /** What the layer makes of a fault, with nothing of it mapped. */
  decide(vcpu: number, ipa: number, access: Access = { type: 'read', privileged: true }, permission = false): ShadowDecision {
    const [fetch, write] = [access.type === 'fetch', access.type === 'write'];
    const esr = abortSyndrome({ fetch, write, permission });
    return this.shadow.fault(vcpu, { ipa, esr, permission, fetch, write, privileged: access.privileged });
  }

  /** The vCPU runs a guest from here on. */
  enter(vcpu: number, state: NestedState): ShadowContext {
    const context = this.shadow.load(vcpu, state);
    this.shadow.beforeEntry(vcpu);
    this.#shadows.enter(vcpu, context.index);
    return context;
  }

  /** One access of a guest that runs in a context, taken to completion. */
  access(vcpu: number, context: number, ipa: number, access: Access): Reach {
    for (let faults = 0; faults < 8; faults++) {
      const attempt = this.#shadows.attempt(vcpu, context, ipa, access);
      if (attempt.kind === 'reached') return attempt;
      const decision = this.decide(vcpu, ipa, access, attempt.permission);
      switch (decision.did) {
        case 'forward':
          return { kind: 'forwarded', decision };
        case 'map':
          if (!this.#shadows.map(vcpu, context, ipa, decision.limits, access)) return { kind: 'host' };
          break;
        case 'retry':
          break;
      }
    }
    ensure('composition.completes', false, `A ${access.type} of ${hex(ipa)} faults for ever.`);
  }
}
