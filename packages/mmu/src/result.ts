import type { AccessType, FaultType, FaultValue } from '@granule/contract';
import type { Level } from '@granule/geometry';
import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import { FetchLog } from './fetches.js';

/**
 * Rights of a translation, after both stages: what the privileged level (EL1, EL2) and EL0 may do. A regime with one privilege level has the first three
 * alone.
 */
export const PERMISSION = { read: 1, write: 2, execute: 4, userRead: 8, userWrite: 16, userExecute: 32 } as const;

/** The most leaves that one translation updates: of stage 1, and of stage 2 for each stage-1 table and for the output. */
export const MAX_UPDATES = 7;

/**
 * Descriptors that hardware wants to change, as columns: whoever owns memory commits each by compare-and-swap and translates again where a word is not
 * what was read. Words are as they stand in memory, little-endian halves.
 */
export interface UpdateLog {
  count: number;
  readonly stage: Uint8Array;
  readonly level: Int8Array;
  readonly address: Float64Array;
  readonly oldLo: Uint32Array;
  readonly oldHi: Uint32Array;
  readonly newLo: Uint32Array;
  readonly newHi: Uint32Array;
}

/** A fault as fields that are written over by the next translation; {@link faultOf} makes a value of it. */
export interface FaultFields {
  type: FaultType;
  level: Level;
  stage: 1 | 2;
  s1ptw: boolean;
  access: AccessType;
  address: InputAddress;
  upper: boolean;
  /** −1 where there is none. */
  ipa: number;
}

/** Filled by `translate`; reuse one. */
export interface Translation {
  /** False: `fault` holds, and nothing else but the logs. */
  ok: boolean;
  /** Physical address, or after stage 1 alone the IPA. */
  output: OutputAddress;
  /** Memory attributes as a MAIR byte. */
  attributes: number;
  /** SH: 0 non, 2 outer, 3 inner; 1 where the descriptor says so and the choice is to show it. */
  shareability: number;
  /** {@link PERMISSION} bits. */
  permissions: number;
  /** log2 of the bytes that this translation holds for, of the smaller leaf. */
  shift: number;
  /** Levels of the leaves; −2: no such stage. */
  level1: number;
  level2: number;
  /** The stage-1 leaf is not global (nG). */
  notGlobal: boolean;
  readonly fault: FaultFields;
  readonly fetches: FetchLog;
  readonly updates: UpdateLog;
}

function updateLog(): UpdateLog {
  return {
    count: 0,
    stage: new Uint8Array(MAX_UPDATES),
    level: new Int8Array(MAX_UPDATES),
    address: new Float64Array(MAX_UPDATES),
    oldLo: new Uint32Array(MAX_UPDATES),
    oldHi: new Uint32Array(MAX_UPDATES),
    newLo: new Uint32Array(MAX_UPDATES),
    newHi: new Uint32Array(MAX_UPDATES),
  };
}

export function createTranslation(): Translation {
  return {
    ok: false,
    output: 0,
    attributes: 0,
    shareability: 0,
    permissions: 0,
    shift: 0,
    level1: -2,
    level2: -2,
    notGlobal: false,
    fault: { type: 'translation', level: 0, stage: 1, s1ptw: false, access: 'read', address: 0, upper: false, ipa: -1 },
    fetches: new FetchLog(),
    updates: updateLog(),
  };
}

/** The fault of a translation that failed, as a value that stays. */
export function faultOf({ fault }: Translation): FaultValue {
  const { type, level, stage, s1ptw, access, address, upper, ipa } = fault;
  return { type, level, stage, s1ptw, access, address, upper, ...(ipa < 0 ? {} : { ipa }) };
}
