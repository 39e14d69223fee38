import type { GuestMemory } from '@granule/contract';
import type { GuestTables, GuestWrite } from './guest-tables.js';
import type { Op, OpLists } from './ops.js';

/** Virtual VTTBR_EL2 and VTCR_EL2 with which a guest hypervisor enters its guest. */
export interface EnteredContext {
  readonly vttbr: bigint;
  readonly vtcr: bigint;
}

/** A TLB invalidation that it makes: the register's value, and VTTBR_EL2 as it stands then. */
export interface Invalidation {
  readonly operand: bigint;
  readonly vttbr: bigint;
}

/** What is known of a guest hypervisor beside the events of a trace. The methods are called in the order of its actions; undefined: not known. */
export interface GuestHypervisor {
  /** The words that make up its tables as they stand, at its IPAs. */
  readonly memory: GuestMemory | undefined;
  /** It enters its guest. */
  enter(): EnteredContext | undefined;
  invalidate(name: string): Invalidation | undefined;
  /** Why something is not known. */
  readonly problem: string | undefined;
  /** What its program wrote, oldest first. */
  readonly writes: readonly GuestWrite[];
}

/** Instructions of the op TLBI, by its first operand. */
const INVALIDATIONS = ['VMALLS12E1IS', 'IPAS2E1IS', 'ALLE1IS', 'VMALLE1IS'];
/** Ops that show in a trace: nothing else may be passed over on the way to one. */
const VISIBLE = new Set(['L2RUN', 'TLBI']);
const CNP = 0x100n;

/** A guest hypervisor by its program: each action of the trace is the next such op of its list, and the ops before it have happened. */
export class ProgramHypervisor implements GuestHypervisor {
  readonly memory: GuestTables;
  readonly writes: GuestWrite[] = [];
  problem: string | undefined;
  readonly #ops: readonly Op[];
  #next = 0;

  constructor({ l1 }: OpLists, tables: GuestTables) {
    this.#ops = l1;
    this.memory = tables;
  }

  enter(): EnteredContext | undefined {
    const op = this.#advance('L2RUN');
    const [packed, vtcr] = op?.args ?? [0n, 0n];
    const root = this.memory.root(Number(packed & 0xffn));
    if (op === undefined || root === undefined) {
      this.problem ??= `Line ${op?.line ?? 0} of ops.txt runs a context without a table.`;
      return undefined;
    }
    const vmid = packed - (packed & 0xffff_ffff_ffffn);
    return { vttbr: vmid + BigInt(root) + ((packed & CNP) === 0n ? 0n : 1n), vtcr };
  }

  invalidate(name: string): Invalidation | undefined {
    const op = this.#advance('TLBI');
    const [kind, operand, vttbr] = op?.args ?? [0n, 0n, 0n];
    if (op !== undefined && INVALIDATIONS[Number(kind)] !== name) {
      this.problem ??= `The trace has TLBI ${name} where line ${op.line} of ops.txt has ${INVALIDATIONS[Number(kind)] ?? `kind ${kind}`}.`;
    }
    return op === undefined || this.problem !== undefined ? undefined : { operand, vttbr };
  }

  /** It comes to a checkpoint `cN` of its own; one of its guest changes nothing. */
  reach(checkpoint: string): void {
    const rest = this.#ops.slice(this.#next);
    const end = rest.findIndex(({ name }) => name === 'CKPT' || VISIBLE.has(name));
    if (rest[end]?.name === 'CKPT' && `c${rest[end].args[0]}` === checkpoint) {
      this.#advance('CKPT');
    }
  }

  /** Does what the list has up to the next op of this name. */
  #advance(name: string): Op | undefined {
    while (this.problem === undefined && this.#next < this.#ops.length) {
      const op = this.#ops[this.#next++];
      if (op.name === name) {
        return op;
      }
      if (VISIBLE.has(op.name)) {
        this.problem = `Line ${op.line} of ops.txt has ${op.name} where the trace has another action.`;
      } else {
        this.#write(op);
      }
    }
    this.problem ??= `ops.txt ends before the trace: it has no further ${name}.`;
    return undefined;
  }

  #write(op: Op): void {
    const write = this.memory.apply(op);
    if (write !== undefined) {
      this.writes.push(write);
    }
  }
}
