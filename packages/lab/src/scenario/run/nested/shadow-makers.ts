import type { NestedState } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { vmidOf, withoutCnp } from '@granule/nested';

/** What was mapped in a shadow, for which table. */
interface Made {
  readonly context: number;
  /** Addresses [start, end) of the nested guest. */
  readonly start: number;
  readonly end: number;
  readonly state: NestedState;
  /** Number of the vCPU whose fault it was. */
  readonly vcpu: number;
  readonly event: number;
}

interface Use {
  readonly context: number;
  readonly address: number;
  readonly state: NestedState;
  readonly vcpu: number;
  readonly event: number;
}

/** A nested guest used an entry that was made for another. */
export interface OtherTable {
  readonly id: 'nested.other-table';
  readonly sentence: string;
  readonly address: number;
  /** Numbers of the event with which the entry was there, and of its use. */
  readonly cause: number;
  readonly exposed: number;
  count: number;
}

/**
 * Who made the entries of shadows. Whether a guest may use one can be told by nothing else: an entry of its own that no longer fits its table is legal until
 * its hypervisor has invalidated it. So is one that its own vCPU made for another table of the same VMID: a TLB would keep that too. What another vCPU made for
 * another table never is, since without VTTBR_EL2.CnP each PE may have a table of its own for a VMID (DDI 0487, VTTBR_EL2.CnP).
 */
export class ShadowMakers {
  readonly found: OtherTable[] = [];
  /** By context; then by bytes, of which there are few, and by first address: the last that was made there. */
  readonly #made = new Map<number, Map<number, Map<number, Made>>>();
  readonly #known = new Map<Made, OtherTable>();

  constructor(private readonly key: string) {}

  mapped(made: Made): void {
    const { context, start, end } = made;
    const bySize = this.#made.get(context) ?? new Map<number, Map<number, Made>>();
    const byStart = bySize.get(end - start) ?? new Map<number, Made>();
    this.#made.set(context, bySize.set(end - start, byStart.set(start, made)));
  }

  #at(context: number, address: number): Made | undefined {
    let last: Made | undefined;
    this.#made.get(context)?.forEach((byStart, bytes) => {
      const made = byStart.get(address - (address % bytes));
      last = made !== undefined && made.event >= (last?.event ?? 0) ? made : last;
    });
    return last;
  }

  /** An address was used; the entry that was made there last is what it went by. */
  used({ context, address, state, vcpu, event }: Use): void {
    const made = this.#at(context, address);
    if (made === undefined || made.vcpu === vcpu || sameTable(made.state, state)) {
      return;
    }
    const known = this.#known.get(made);
    if (known !== undefined) {
      known.count += 1;
      return;
    }
    const sentence =
      `A nested guest of VMID ${vmidOf(state.vttbr)} and table ${tableText(state)} used an entry of shadow ${context} that was made for table ${tableText(made.state)}: contexts are found by ${this.key}.`;
    const other: OtherTable = { id: 'nested.other-table', sentence, address, cause: made.event, exposed: event, count: 1 };
    this.#known.set(made, other);
    this.found.push(other);
  }
}

function sameTable(a: NestedState, b: NestedState): boolean {
  return a.stage2 === b.stage2 && (!a.stage2 || (withoutCnp(a.vttbr) === withoutCnp(b.vttbr) && a.vtcr === b.vtcr));
}

function tableText({ vttbr, stage2 }: NestedState): string {
  return stage2 ? hex(Number(withoutCnp(vttbr) % 2n ** 48n)) : 'none';
}
