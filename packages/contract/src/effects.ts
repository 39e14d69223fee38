import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import type { Granule, Level } from '@granule/geometry';
import type { Features } from './backend.js';
import type { AccessType, FaultValue } from './fault.js';

/** Where an effect happens. All of it optional: a page-table core knows neither PEs nor tags, whoever runs it adds them. */
export interface Issued {
  /** Number of the PE, from 0; absent: 0. */
  readonly pe?: number;
}

/** Domain and kind of a DSB. */
export type DsbDomain = 'ish' | 'ishst' | 'nsh' | 'nshst' | 'osh' | 'oshst' | 'sy' | 'st';

/**
 * Architectural names of the invalidations (AArch64: `IPAS2E1IS`; AArch32: `TLBIIPAS2IS`); the backend's `instructions` has their operands.
 */
export type TlbiName = string;

export interface TlbiEffect extends Issued {
  readonly type: 'tlbi';
  readonly op: TlbiName;
  /** Input address (VA or IPA) for operations that take one; the start of the range for range operations. */
  readonly address?: InputAddress;
  /** Level hint (TTL); absent: no hint. */
  readonly level?: Level;
  /** Range operations: bytes covered. */
  readonly bytes?: number;
  /** The VMID in force on the PE (VTTBR_EL2) where the operation uses it; absent: not told, every VMID is assumed to be meant. */
  readonly vmid?: number;
  /** The ASID operand; absent: not told, every ASID is assumed to be meant. */
  readonly asid?: number;
  /** The regime that an EL1 operation acts on: `el10`, or `el20` with HCR_EL2.{E2H,TGE} = {1,1}; absent: not told, both are assumed. */
  readonly regime?: string;
}
export interface DsbEffect extends Issued {
  readonly type: 'dsb';
  readonly domain: DsbDomain;
}
export interface IsbEffect extends Issued {
  readonly type: 'isb';
}
/** Cache maintenance by address, to the point of coherency (`poc`) or unification (`pou`). */
export interface CmoEffect extends Issued {
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
export interface WriteEffect extends Issued {
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
export interface RegisterEffect extends Issued {
  readonly type: 'register';
  readonly name: string;
  readonly value: bigint;
}
/** What a {@link Format} was made of, as plain data, so that a log can be read without the program that wrote it. */
export interface ContextFormat {
  readonly backend: string;
  readonly granule: Granule;
  readonly iaBits: number;
  readonly oaBits: number;
  readonly startLevel: Level;
  /** LPA2 descriptors are in force. */
  readonly ds?: boolean;
  readonly upper?: boolean;
  readonly fwb?: boolean;
  readonly hpd?: boolean;
  readonly mair?: bigint;
  readonly features?: Partial<Pick<Features, ContextFeature>>;
}
/** The features that a format's meaning can depend on. */
export type ContextFeature = 'bbm' | 'bti' | 'haf' | 'hdbs' | 'hpds' | 'hpds2' | 'lpa' | 'tlbirange' | 'ttl' | 'xnx' | 'xs';

/**
 * A table becomes reachable by walkers of `regime` under these tags, or stops being so for good. With `pe`: by that PE alone; a table in
 * force on several PEs is installed once for each.
 */
export interface ContextEffect extends Issued {
  readonly type: 'context-installed' | 'context-retired';
  readonly regime: string;
  readonly root: OutputAddress;
  readonly vmid?: number;
  readonly asid?: number;
  /** Installed: what the table's descriptors mean. */
  readonly format?: ContextFormat;
}

/**
 * What a model of the hardware finds in an access: bytes that are not those that the program's last write left, or a copy that maintenance
 * did not reach.
 */
export interface Mismatch {
  readonly rule: 'data.stale-read' | 'data.lost-dirty-line' | 'code.stale-instructions' | 'cache.set-way-not-enough';
  /** Number of the event (from 1) that should have maintained the line, or that wrote it. */
  readonly cause?: number;
  /** What should have been read. */
  readonly expected?: bigint;
}
/** An access as the machine made it, after translation. */
export interface AccessEffect extends Issued {
  readonly type: 'access';
  readonly access: AccessType;
  readonly address: InputAddress;
  /** The physical address that it went to; absent: not told. */
  readonly output?: OutputAddress;
  readonly bytes: number;
  readonly value?: bigint;
  /** Memory attributes as a MAIR byte and SH[1:0], as both stages, SCTLR and HCR leave them; absent: not told. */
  readonly attributes?: number;
  readonly shareability?: number;
  /** The regime of `address`; absent: not told. */
  readonly regime?: string;
  /** The IPA on the way, where stage 2 is in force. */
  readonly ipa?: number;
  readonly vmid?: number;
  readonly asid?: number;
  readonly mismatch?: Mismatch;
}
export interface FaultEffect extends Issued {
  readonly type: 'fault';
  readonly fault: FaultValue;
  readonly vmid?: number;
  readonly asid?: number;
  /** The regime of the faulting address; absent: not told. */
  readonly regime?: string;
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
