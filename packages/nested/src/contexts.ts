import type { NestedState, ShadowContext } from '@granule/contract';
import { baddrChanged, matches, vmidOf, withoutCnp, type ContextKey } from './key.js';

/** Contexts that each vCPU with a virtual EL2 brings (Linux S2_MMU_PER_VCPU). */
export const CONTEXTS_PER_VCPU = 2;

type Context = { -readonly [Field in keyof ShadowContext]: ShadowContext[Field] };

/** How a context was come by. */
export interface Taken {
  readonly context: ShadowContext;
  readonly found: boolean;
}

/**
 * The pool of contexts of a VM. A vCPU holds at most one of them, and each brings two: so when one asks and holds none, at most as many as there are other
 * vCPUs are held, and one without a reference is always there. Which is why the lookup on guest entry cannot fail, where the list of 2017 needed its BUG_ON.
 * Sources: Linux lookup_s2_mmu, get_s2_mmu_nested, kvm_vcpu_init_nested.
 */
export class ContextPool {
  readonly #contexts: Context[] = [];
  /** Where the search for a victim begins (nested_mmus_next). */
  #next = 0;

  constructor(readonly key: ContextKey = 'vttbr+vtcr') {}

  /** In the order in which Linux goes through its array. */
  get contexts(): readonly ShadowContext[] {
    return this.#contexts;
  }

  /** The contexts that one vCPU brings; answers their numbers. */
  grow(): readonly number[] {
    return Array.from({ length: CONTEXTS_PER_VCPU }, () => {
      const index = this.#contexts.length;
      this.#contexts.push({ index, valid: false, vttbr: 0n, vtcr: 0n, stage2: false, pendingUnmap: false, references: 0 });
      return index;
    });
  }

  lookup(state: NestedState): ShadowContext | undefined {
    return this.#find(state);
  }

  /**
   * The context for a guest, with a reference more: the one that matches, or else the next in turn that nobody holds. What that one maps for its former guest
   * goes before the next entry, by whichever vCPU comes first.
   *
   * @throws RangeError where every context is held: a vCPU asks that holds one already
   */
  take(state: NestedState): Taken {
    const found = this.#find(state);
    const context = found ?? this.#victim();
    if (found === undefined) {
      context.pendingUnmap ||= context.valid;
      Object.assign(context, { valid: true, vttbr: withoutCnp(state.vttbr), vtcr: state.vtcr, stage2: state.stage2 });
    } else if (baddrChanged(this.key, context, state)) {
      context.pendingUnmap = true;
      context.vttbr = withoutCnp(state.vttbr);
    }
    context.references += 1;
    return { context, found: found !== undefined };
  }

  #find(state: NestedState): Context | undefined {
    return this.#contexts.find((context) => context.valid && matches(this.key, context, state));
  }

  #victim(): Context {
    const count = this.#contexts.length;
    for (let i = this.#next; i < this.#next + count; i++) {
      const context = this.#contexts[i % count];
      if (context.references === 0) {
        this.#next = (i + 1) % count;
        return context;
      }
    }
    throw new RangeError(`All ${count} shadow contexts are held; a vCPU holds at most one and gives it back before it takes another.`);
  }

  /** A reference less. */
  put({ index }: ShadowContext): void {
    this.#contexts[index].references -= 1;
  }

  /** What a context owed before entry is done. */
  unmapped({ index }: ShadowContext): void {
    this.#contexts[index].pendingUnmap = false;
  }

  valid(): readonly ShadowContext[] {
    return this.#contexts.filter(({ valid }) => valid);
  }

  /** Every context of a VMID: there may be several (Linux kvm_s2_mmu_iterate_by_vmid). */
  byVmid(vmid: number): readonly ShadowContext[] {
    return this.valid().filter(({ vttbr }) => vmidOf(vttbr) === vmid);
  }
}
