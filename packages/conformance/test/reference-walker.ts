import {
  done,
  ENTRY,
  levelIndex,
  type Attributes,
  type FaultType,
  type Rights,
  type TableAttributes,
  type TableWalk,
  type WalkAccess,
  type WalkAnswer,
  type Walker,
  type WalkerOptions,
} from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import type { WalkerFault } from './mutants/walkers.js';

interface Leaf {
  readonly level: Level;
  readonly output: number;
  readonly attributes: Attributes;
}

/** Where a walk stops without a leaf. */
interface Stop {
  readonly type: FaultType;
  readonly level: Level;
}

/**
 * A walker that knows formats alone: it descends by `kind` and asks `decodeLeaf` for everything else. It exists to test the suite: with a `fault` it does one
 * thing wrong.
 */
class ReferenceWalk implements TableWalk {
  private remembered: { readonly page: number; readonly ia: number; readonly leaf: Leaf } | undefined;

  constructor(
    private readonly options: WalkerOptions,
    private readonly fault: WalkerFault | undefined,
  ) {}

  translate(ia: number, access: WalkAccess): WalkAnswer {
    const { format } = this.options;
    const limit = 2 ** format.geometry.iaBits;
    if ((ia < 0 || ia >= limit) && this.fault !== 'input-size-ignored') return this.faults(ia, access, { type: 'translation', level: 0 });
    const leaf = this.leaf(((ia % limit) + limit) % limit);
    if ('type' in leaf) return this.faults(ia, access, leaf);
    const { level, output, attributes } = leaf;
    const user = this.hasUser() ? this.rights(attributes, false) : undefined;
    const privileged = this.rights(attributes, true);
    const denied = !this.permits(access.privileged || user === undefined ? privileged : user, access, privileged);
    const clear = !attributes.af && this.fault !== 'access-flag-ignored';
    if (denied && this.fault === 'permission-before-access-flag') return this.faults(ia, access, { type: 'permission', level });
    if (clear) return this.faults(ia, access, { type: 'access-flag', level });
    if (denied) return this.faults(ia, access, { type: 'permission', level });
    const shown = this.fault === 'leaf-level-off-by-one' ? ((level - 1) as Level) : level;
    const { memory, shareability } = this.seen(attributes);
    const only = this.fault === 'rights-of-the-access-alone' ? { ...privileged, execute: access.type === 'fetch' } : privileged;
    return { kind: 'done', value: { output, level: shown, privileged: only, ...(user && { user }), memory, shareability } };
  }

  private seen({ memory, shareability }: Attributes): Pick<Attributes, 'memory' | 'shareability'> {
    return {
      memory: this.fault === 'type-of-the-default' ? this.options.format.defaults.memory : memory,
      shareability: this.fault === 'shareability-lost' ? 'non' : shareability,
    };
  }

  private hasUser(): boolean {
    const { format } = this.options;
    if (this.fault === 'one-privilege-level') return false;
    return format.stage === 2 || format.encodeLeaf({ user: true }, 3).kind === 'done';
  }

  private rights({ read, write, px, ux, user }: Attributes, privileged: boolean): Rights {
    const reaches = privileged || this.options.format.stage === 2 || user;
    const execute = privileged === (this.fault !== 'execute-bits-swapped') ? px : ux;
    return { read: read && reaches, write: (write || this.fault === 'writes-always') && reaches, execute };
  }

  private permits(own: Rights, { type }: WalkAccess, privileged: Rights): boolean {
    const rights = this.fault === 'user-is-privileged' ? privileged : own;
    if (type === 'fetch' && this.fault !== 'fetch-is-a-read') return rights.execute;
    return type === 'write' ? rights.write : rights.read;
  }

  private leaf(ia: number): Leaf | Stop {
    const page = Math.floor(ia / 2 ** this.options.format.geometry.pageShift);
    const known = this.remembered;
    if (this.fault === 'remembers-a-leaf' && known?.page === page) return { ...known.leaf, output: known.leaf.output + ia - known.ia };
    const leaf = this.descend(ia);
    if ('output' in leaf) this.remembered = { page, ia, leaf };
    return leaf;
  }

  private descend(ia: number): Leaf | Stop {
    const { format, memory, root } = this.options;
    const { startLevel, rootEntries, stride } = format.geometry;
    let table = root;
    const limits: TableAttributes[] = [];
    for (let level = this.fault === 'starts-a-level-late' ? ((startLevel + 1) as Level) : startLevel; ; level = (level + 1) as Level) {
      const word = memory.wordOf(table + 8 * this.index(ia, level, level === startLevel ? rootEntries : 2 ** stride), 8);
      if (word < 0) return { type: this.fault === 'no-memory-is-no-entry' ? 'translation' : 'external-abort-on-walk', level };
      const lo = memory.words[word];
      const hi = memory.words[word + 1];
      const kind = format.kind(lo, hi, level);
      if (kind === ENTRY.leaf && !(this.fault === 'no-blocks' && level < 3)) return this.end(ia, lo, hi, level, limits);
      if (kind === ENTRY.annotated && this.fault === 'annotation-is-a-leaf') return this.end(ia, lo, hi, level, limits);
      if (kind !== ENTRY.table || level === 3) return { type: 'translation', level };
      if (this.beyond(hi, format.numbers.tableOaHi)) return { type: 'address-size', level };
      limits.push(format.decodeTable(lo, hi));
      table = format.tableOutput(lo, hi);
    }
  }

  private index(ia: number, level: Level, entries: number): number {
    const { geometry } = this.options.format;
    const index = Math.floor(ia / 2 ** levelShift(geometry.granule, level)) % entries;
    if (this.fault === 'one-entry-table-alone') return index % 2 ** geometry.stride;
    if (this.fault === 'index-one-bit-short') return index % Math.max(1, entries / 2);
    return this.fault === 'last-entry-wraps' && index === entries - 1 ? 0 : index;
  }

  /** Address bits 51:32 beyond the output size, where they stand at their own place. */
  private beyond(hi: number, mask: number): boolean {
    const { geometry, numbers } = this.options.format;
    if (this.fault === 'address-size-ignored' || geometry.oaBits >= numbers.oaPlainBits) return false;
    return ((hi & mask) >>> 0) >= 2 ** (geometry.oaBits - 32);
  }

  private end(ia: number, lo: number, hi: number, level: Level, limits: readonly TableAttributes[]): Leaf | Stop {
    const { format } = this.options;
    if (this.beyond(hi, format.numbers.leafOaHi[levelIndex(level)])) return { type: 'address-size', level };
    const own = format.decodeLeaf(lo, hi, level);
    const attributes = limits.reduce<Attributes>((sum, each) => this.limited(sum, each), own);
    return { level, output: this.output(format.leafOutput(lo, hi, level), ia, level), attributes };
  }

  private output(start: number, ia: number, level: Level): number {
    const { granule, pageShift } = this.options.format.geometry;
    const { oaPlainBits } = this.options.format.numbers;
    const base = this.fault === 'top-output-bits-forgotten' ? start % 2 ** oaPlainBits : this.fault === 'output-low-half-only' ? start % 2 ** 32 : start;
    if (this.fault === 'offset-forgotten') return base;
    return base + (ia % 2 ** (this.fault === 'offset-of-a-page' ? pageShift : levelShift(granule, level)));
  }

  private limited(attributes: Attributes, { apTable, uxnTable, pxnTable }: TableAttributes): Attributes {
    if (this.fault === 'hierarchy-ignored' || this.options.config.hpd === true) return attributes;
    return {
      ...attributes,
      write: attributes.write && apTable < 2,
      user: attributes.user && apTable % 2 === 0,
      ux: attributes.ux && !uxnTable,
      px: attributes.px && !pxnTable,
    };
  }

  private faults(ia: number, access: WalkAccess, { type, level }: Stop): WalkAnswer {
    const { format } = this.options;
    const { startLevel, pageShift } = format.geometry;
    const stage = (format.stage === 2) === (this.fault !== 'fault-of-the-other-stage') ? 2 : 1;
    const early = this.fault === 'faults-a-level-early' ? (Math.max(startLevel, level - 1) as Level) : level;
    const address = this.fault === 'fault-address-of-the-page' ? ia - (ia % 2 ** pageShift) : ia;
    return {
      kind: 'fault',
      fault: {
        type,
        level: this.fault === 'faults-at-the-last-level' ? 3 : early,
        stage,
        s1ptw: false,
        access: this.fault === 'every-fault-is-a-read' ? 'read' : access.type,
        address,
        upper: format.upper,
        ...(format.stage === 2 && { ipa: address }),
      },
    };
  }
}

export const referenceWalker = (fault?: WalkerFault): Walker => ({ open: (options) => done(new ReferenceWalk(options, fault)) });
