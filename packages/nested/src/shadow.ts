import {
  done, DONE, type GuestMemory, type HostStage2, type NestedFault, type NestedGuest, type NestedLayer, type NestedState, type Outcome, type ShadowContext, type ShadowDecision,
  type ShadowStage2,
} from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import { ContextPool } from './contexts.js';
import { decide, oneToOne } from './decide.js';
import type { ShadowEvent, UnmapCause } from './events.js';
import { nestingSupported } from './guest.js';
import { GuestWalker } from './guest-walk.js';
import { vmidOf, type ContextKey } from './key.js';
import { tlbiSpan, tlbiTarget, type TlbiTarget } from './tlbi.js';

export interface ShadowOptions {
  readonly guest: NestedGuest;
  readonly memory: GuestMemory;
  readonly host: HostStage2;
  /** Default `vttbr+vtcr`. */
  readonly key?: ContextKey;
  readonly on?: (event: ShadowEvent) => void;
}

/** What a vCPU runs while it holds a context. */
interface Running {
  readonly context: ShadowContext;
  readonly state: NestedState;
}

/** Shadow stage-2 contexts as KVM keeps them: the layer decides, the host maps and unmaps. Not modelled: `nested.not-supported`. */
export function createShadowStage2(options: ShadowOptions): Outcome<ShadowStage2> {
  return nestingSupported(options.guest.backend) ?? done(new Shadows(options));
}

/** This package as a layer to be swapped or tested, with one way to find contexts. */
export function nestedLayer({ key = 'vttbr+vtcr' }: { readonly key?: ContextKey } = {}): NestedLayer {
  return { name: `nested, by ${key}`, open: (options) => createShadowStage2({ ...options, key }) };
}

class Shadows implements ShadowStage2 {
  readonly #options: ShadowOptions;
  readonly #pool: ContextPool;
  readonly #walker: GuestWalker;
  /** By vCPU. */
  readonly #running: (Running | undefined)[] = [];

  constructor(options: ShadowOptions) {
    this.#options = options;
    this.#pool = new ContextPool(options.key);
    this.#walker = new GuestWalker(options.guest, options.memory);
  }

  get contexts(): readonly ShadowContext[] {
    return this.#pool.contexts;
  }

  addVcpu(): Outcome<number> {
    for (const index of this.#pool.grow()) {
      const added = this.#options.host.add(index);
      if (added.kind !== 'done') {
        return added;
      }
    }
    this.#running.push(undefined);
    return done(this.#running.length - 1);
  }

  load(vcpu: number, state: NestedState): ShadowContext {
    const held = this.#running[vcpu];
    if (held !== undefined) {
      return held.context;
    }
    this.#tell({ event: 'lookup', vcpu, found: this.#pool.lookup(state)?.index });
    const { context } = this.#pool.take(state);
    this.#tell({ event: 'taken', vcpu, context: context.index, pendingUnmap: context.pendingUnmap });
    this.#running[vcpu] = { context, state };
    return context;
  }

  put(vcpu: number, { keep = false }: { readonly keep?: boolean } = {}): void {
    const held = this.#running[vcpu];
    if (held !== undefined && !keep) {
      this.#pool.put(held.context);
      this.#running[vcpu] = undefined;
    }
  }

  beforeEntry(vcpu: number): void {
    const context = this.#running[vcpu]?.context;
    if (context?.pendingUnmap === true) {
      this.#unmap(context, 0, this.#limit, { why: 'taken-over' });
      this.#pool.unmapped(context);
    }
  }

  fault(vcpu: number, fault: NestedFault): ShadowDecision {
    const running = this.#running[vcpu];
    if (running === undefined) {
      throw new RangeError(`vCPU ${vcpu} runs no nested guest.`);
    }
    const { context, state } = running;
    const decision = context.stage2 ? this.#throughGuest(vcpu, state, fault) : ({ did: 'map', limits: oneToOne(fault.ipa) } as const);
    this.#tell({ event: 'decided', vcpu, context: context.index, ipa: fault.ipa, decision });
    return decision;
  }

  #throughGuest(vcpu: number, state: NestedState, fault: NestedFault): ShadowDecision {
    this.#tell({ event: 'walk', vcpu, ipa: fault.ipa });
    return decide(fault, this.#walker.walk(state, fault.ipa));
  }

  tlbi(state: NestedState, name: string, operand: bigint): Outcome<undefined> {
    const target = tlbiTarget(name, operand, this.#options.guest);
    if (target.kind !== 'done') {
      return target;
    }
    const cause = { why: 'tlbi', name, operand } as const;
    switch (target.value.target) {
      case 'all':
        this.#unmapValid(cause);
        return DONE;
      case 'vncr':
        return DONE;
      case 'vmid':
      case 'ipa':
      case 'range':
      case 'nothing':
      case 'stage1':
        this.#byVmid(vmidOf(state.vttbr), target.value, cause);
        return DONE;
    }
  }

  /** A VMID may have several contexts, and each of them may hold what the TLBI is about. */
  #byVmid(vmid: number, target: TlbiTarget, cause: UnmapCause & { why: 'tlbi' }): void {
    this.#tell({ event: 'by-vmid', vmid, name: cause.name });
    for (const context of this.#pool.byVmid(vmid)) {
      switch (target.target) {
        case 'vmid':
          this.#unmap(context, 0, this.#limit, cause);
          break;
        case 'ipa': {
          const { start, bytes } = tlbiSpan(target, context, this.#options.guest, (ipa) => this.#options.host.leaf(context.index, ipa));
          this.#unmap(context, start, start + bytes, cause);
          break;
        }
        case 'range':
          this.#unmap(context, target.start, target.end, cause);
          break;
        case 'stage1':
          this.#options.host.invalidateStage1(context.index, target.name, cause.operand);
          break;
        case 'all':
        case 'nothing':
        case 'vncr':
          break;
      }
    }
  }

  unmapAll(): void {
    this.#unmapValid({ why: 'host' });
  }

  writeProtectAll(): void {
    this.#tell({ event: 'write-protect-all' });
    this.#pool.valid().forEach(({ index }) => this.#options.host.writeProtect(index));
  }

  flushAll(): void {
    this.#tell({ event: 'flush-all' });
    this.#pool.valid().forEach(({ index }) => this.#options.host.flush(index));
  }

  #unmapValid(cause: UnmapCause): void {
    this.#tell({ event: 'unmap-all' });
    this.#pool.valid().forEach((context) => this.#unmap(context, 0, this.#limit, cause));
  }

  #unmap({ index }: ShadowContext, start: InputAddress, end: InputAddress, cause: UnmapCause): void {
    this.#tell({ event: 'unmap', context: index, start, end, cause });
    this.#options.host.unmap(index, start, end);
  }

  get #limit(): InputAddress {
    return 2 ** this.#options.guest.paBits;
  }

  #tell(event: ShadowEvent): void {
    this.#options.on?.(event);
  }
}
