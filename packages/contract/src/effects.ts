import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import type { AccessType, FaultValue } from './fault.js';

/** Domain and kind of a DSB. */
export type DsbDomain = 'ish' | 'ishst' | 'nsh' | 'nshst' | 'osh' | 'oshst' | 'sy' | 'st';

/**
 * Architectural names of the invalidations (AArch64: `IPAS2E1IS`; AArch32: `TLBIIPAS2IS`); the backend's `instructions` has their operands.
 */
export type TlbiName = string;

export interface TlbiEffect {
  readonly type: 'tlbi';
  readonly op: TlbiName;
  /** Input address (VA or IPA) for operations that take one; the start of the range for range operations. */
  readonly address?: InputAddress;
  /** Level hint (TTL); absent: no hint. */
  readonly level?: Level;
  /** Range operations: bytes covered. */
  readonly bytes?: number;
}
export interface DsbEffect {
  readonly type: 'dsb';
  readonly domain: DsbDomain;
}
export interface IsbEffect {
  readonly type: 'isb';
}
/** Cache maintenance by address, to the point of coherency (`poc`) or unification (`pou`). */
export interface CmoEffect {
  readonly type: 'cmo';
  readonly op:
    'dc-civac' | 'dc-cvac' | 'dc-ivac' | 'dc-cvau' | 'dc-zva' | 'ic-ivau' | 'ic-iallu' | 'ic-ialluis' | 'dc-isw' | 'dc-csw' | 'dc-cisw';
  readonly to: 'poc' | 'pou';
  /** Physical address and size, bytes; set/way operations carry their operand in `address`. */
  readonly address: OutputAddress;
  readonly bytes: number;
}

/**
 * An effect that comes with every entry of a write run: its addresses advance with the entry (`address` by the entry's span, a CMO's by its
 * bytes).
 */
export type EntryEffect = TlbiEffect | DsbEffect | IsbEffect | CmoEffect;

/**
 * Descriptors written: `count` neighbouring entries of one table from `index`. A run stands for the same thing done entry by entry, in
 * entry order: for each entry first `before`, then the write of it, then `after`.
 */
export interface WriteEffect {
  readonly type: 'write';
  readonly table: OutputAddress;
  readonly level: Level;
  readonly index: number;
  readonly count: number;
  /** Input address of the first entry. */
  readonly address: InputAddress;
  /** Old and new descriptors, two 32-bit halves each, `2 · count` words. */
  readonly old: Uint32Array;
  readonly new: Uint32Array;
  /** Store-release: earlier writes (the content of a new table) are seen before this one. */
  readonly release: boolean;
  readonly before?: readonly EntryEffect[];
  readonly after?: readonly EntryEffect[];
}
export interface TakeEffect {
  readonly type: 'take';
  readonly table: OutputAddress;
  readonly pages: number;
}
/** A table page is given back; its words are zero from here on. */
export interface FreeEffect {
  readonly type: 'free';
  readonly table: OutputAddress;
  readonly pages: number;
  /** Freed only after a grace period (Linux: RCU) rather than at once. */
  readonly deferred: boolean;
}
export interface RegisterEffect {
  readonly type: 'register';
  readonly name: string;
  readonly value: bigint;
}
/** A table becomes reachable by walkers of `regime` under these tags, or stops being so for good. */
export interface ContextEffect {
  readonly type: 'context-installed' | 'context-retired';
  readonly regime: string;
  readonly root: OutputAddress;
  readonly vmid?: number;
  readonly asid?: number;
}
export interface AccessEffect {
  readonly type: 'access';
  readonly access: AccessType;
  readonly address: InputAddress;
  readonly output?: OutputAddress;
  readonly bytes: number;
  readonly value?: bigint;
}
export interface FaultEffect {
  readonly type: 'fault';
  readonly fault: FaultValue;
}

/** Everything that the core, the policy, the nested layer or a guest does to the machine. Closed: switch without default. */
export type Effect = EntryEffect | WriteEffect | TakeEffect | FreeEffect | RegisterEffect | ContextEffect | AccessEffect | FaultEffect;

/**
 * Takes effects in program order. Absent: nothing is built, nothing is called. `write` runs are expanded by `expandEffect` of the
 * conformance package.
 */
export interface EffectSink {
  effect(effect: Effect): void;
}
