import { done, refused, type InstructionCodec, type Outcome } from '@granule/contract';
import type { TlbEntry, TlbiEffect, TlbiScope, TlbRegime } from '@granule/contract';
import { alignDown, isAligned, pow2 } from '@granule/geometry/bits';
import { ADDRESS_END, tlbAddressOf, UPPER_HALF } from './address.js';
import { TLBI_OPERATIONS, type TlbiOperation, type TlbiReach } from './operations.js';

const SOURCE = 'DDI 0487 C5.5';
/** TG of range operations, and TTL[3:2] of the others: log2 of the page size (DDI 0487 C5.5). */
const PAGE_SHIFTS = [0, 12, 14, 16] as const;
const NO_LEVEL = -2;

/** What the PE that issues an invalidation has in force. */
export interface TlbiIssuer {
  /** Exception level: 1, or 2 (Hyp mode). */
  readonly el: 1 | 2;
  /** VTTBR_EL2.VMID; 0 without EL2. */
  readonly vmid: number;
  /** HCR_EL2.E2H, TGE. */
  readonly e2h: boolean;
  readonly tge: boolean;
  /** HCR_EL2.FB: local operations of EL1 reach the Inner Shareable domain. */
  readonly forceBroadcast?: boolean;
  /** FEAT_LPA2: level hints may name level 0 (4K) and level 1 (16K). */
  readonly lpa2: boolean;
  /** TCR_EL1.DS, TCR_EL2.DS, VTCR_EL2.DS: BaseADDR of a range counts 64 KiB. */
  readonly ds1?: boolean;
  readonly ds2?: boolean;
  readonly dsStage2?: boolean;
}

function regimeOf(operation: TlbiOperation, { e2h, tge }: TlbiIssuer): TlbRegime {
  switch (operation.regime) {
    case 'el1':
      return e2h && tge ? 'el20' : 'el10';
    case 'el10':
      return 'el10';
    case 'el2':
      return e2h ? 'el20' : 'el2';
    case 'hyp':
      return 'el2';
  }
}

/** How far an operation reaches when this PE issues it: what EL1 means to be local, HCR_EL2.FB broadcasts (DDI 0487 D24.2, HCR_EL2.FB). */
export function reachOf({ reach }: TlbiOperation, { el, forceBroadcast }: TlbiIssuer): TlbiReach {
  return reach === 'local' && el === 1 && forceBroadcast === true ? 'inner' : reach;
}

/** What an operation and its issuer say; the operand adds address, ASID and hints. */
function unaddressed(operation: TlbiOperation, issuer: TlbiIssuer, asid: number): TlbiScope {
  const regime = regimeOf(operation, issuer);
  const { stage1, stage2, usesVmid, usesAsid, lastLevel, target } = operation;
  return {
    regime,
    stage1,
    stage2: stage2 === 'from-el2' ? issuer.el === 2 : stage2,
    lastLevel,
    vmid: usesVmid && regime === 'el10' ? issuer.vmid : -1,
    asid: usesAsid && regime !== 'el2' ? asid : -1,
    global: target !== 'asid',
    start: 0,
    end: ADDRESS_END,
    pageShift: 0,
    level: NO_LEVEL,
    contradictory: false,
  };
}

type Hint = Pick<TlbiScope, 'pageShift' | 'level'>;
const NO_HINT: Hint = { pageShift: 0, level: NO_LEVEL };

/** TTL[3:0]: granule and level; reserved values give no hint (DDI 0487 C5.5, TLBI VAE1.TTL). */
function levelHint(ttl: number, lpa2: boolean): Hint {
  const pageShift = PAGE_SHIFTS[ttl >> 2];
  const level = ttl & 3;
  const shallowest = lpa2 ? { 0: 4, 12: 0, 14: 1, 16: 1 } : { 0: 4, 12: 1, 14: 2, 16: 1 };
  return level < shallowest[pageShift] ? NO_HINT : { pageShift, level };
}

/** The address of VA, IPA or MVA operands: 4 KiB of it, because every granule's operand begins at bit 12. */
function addressed(base: TlbiScope, operand: Readonly<Record<string, bigint>>, lpa2: boolean): TlbiScope {
  const { VA, MVA, IPA, TTL } = operand;
  // VA[55:12] arrives with bits above 55 dropped.
  const address = VA === undefined ? Number(IPA ?? MVA ?? 0n) : tlbAddressOf(VA);
  const start = alignDown(address, 12);
  const hint = TTL === undefined ? NO_HINT : levelHint(Number(TTL), lpa2);
  return { ...base, start, end: start + 4096, ...hint };
}

/** Bits below a leaf of each level by page size, for the levels that a range's TTL can name. */
const LEAF_SHIFTS: Readonly<Record<number, readonly (number | undefined)[]>> = {
  12: [undefined, 30, 21, 12],
  14: [undefined, 36, 25, 14],
  16: [undefined, 42, 29, 16],
};

/**
 * A range: (NUM + 1) · 2^(5 · SCALE + 1) pages from BaseADDR, which counts pages, or 64 KiB with DS, and is extended by its sign; at the
 * end of its half of the address space it stops. TG = 0 is reserved and names nothing. DDI 0487 C5.5 TLBI RVAE1, and TLBIRange() of its
 * shared pseudocode. With a level hint a start off a boundary of that level makes the range UNPREDICTABLE.
 */
function ranged(base: TlbiScope, operand: Readonly<Record<string, bigint>>, ds: boolean, lpa2: boolean): TlbiScope {
  const field = (name: string): number => Number(operand[name] ?? 0n);
  const pageShift = PAGE_SHIFTS[field('TG')];
  if (pageShift === 0) return { ...base, end: 0 };
  const unitShift = ds ? 16 : pageShift;
  const baseAddress = field('BaseADDR');
  const negative = baseAddress >= pow2(36);
  const start = negative ? ADDRESS_END + (baseAddress - pow2(37)) * pow2(unitShift) : baseAddress * pow2(unitShift);
  const bytes = (field('NUM') + 1) * pow2(5 * field('SCALE') + 1 + pageShift);
  const end = Math.min(start + bytes, start < UPPER_HALF ? UPPER_HALF : ADDRESS_END);
  // Level 1 with 16K exists with FEAT_LPA2 alone.
  const ttl = field('TTL') === 1 && pageShift === 14 && !lpa2 ? 0 : field('TTL');
  const shift = LEAF_SHIFTS[pageShift][ttl];
  if (shift === undefined) return { ...base, start, end, pageShift };
  return { ...base, start, end, pageShift, level: ttl, contradictory: !isAligned(start, shift) };
}

function dsOf({ regime, stage2 }: TlbiScope, { ds1, ds2, dsStage2 }: TlbiIssuer): boolean {
  if (stage2) return dsStage2 === true;
  return (regime === 'el10' ? ds1 : ds2) === true;
}

/**
 * Which entries an operation names, with its operand as the backend's `instructions` decode it.
 *
 * Refused: `tlbi.unknown`.
 */
export function scopeOf(name: string, operand: Readonly<Record<string, bigint>>, issuer: TlbiIssuer): Outcome<TlbiScope> {
  const operation = TLBI_OPERATIONS.get(name);
  if (operation === undefined) return refused('tlbi.unknown', `There is no TLB invalidation ${name}.`, SOURCE);
  const base = unaddressed(operation, issuer, Number(operand['ASID'] ?? 0n));
  switch (operation.target) {
    case 'all':
    case 'asid':
      return done(base);
    case 'address':
      return done(addressed(base, operand, issuer.lpa2));
    case 'range':
      return done(ranged(base, operand, dsOf(base, issuer), issuer.lpa2));
  }
}

/** {@link scopeOf} of an instruction's 64-bit operand. Refused also as the backend's `instructions` refuse. */
export function scopeOfWord(instructions: InstructionCodec, name: string, operand: bigint, issuer: TlbiIssuer): Outcome<TlbiScope> {
  const fields = instructions.decode(name, operand);
  return fields.kind === 'done' ? scopeOf(name, fields.value, issuer) : fields;
}

/**
 * Which entries a `tlbi` effect names. It carries addresses and bytes instead of an operand, a level without a granule, and where they are
 * known VMID and ASID (absent: the issuer's VMID, any ASID).
 * @param start the TLB address of `effect.address`
 * Refused: `tlbi.unknown`, `tlbi.no-address`.
 */
export function scopeOfEffect(effect: TlbiEffect, issuer: TlbiIssuer, start: number | undefined): Outcome<TlbiScope> {
  const operation = TLBI_OPERATIONS.get(effect.op);
  if (operation === undefined) return refused('tlbi.unknown', `There is no TLB invalidation ${effect.op}.`, SOURCE);
  const base = unaddressed(operation, { ...issuer, vmid: effect.vmid ?? issuer.vmid }, effect.asid ?? -1);
  if (operation.target === 'all' || operation.target === 'asid') return done(base);
  if (start === undefined) return refused('tlbi.no-address', `${effect.op} takes an address, and the event has none.`, SOURCE);
  const first = alignDown(start, 12);
  const bytes = operation.target === 'range' ? (effect.bytes ?? 0) : 4096;
  return done({ ...base, start: first, end: first + bytes, level: effect.level ?? NO_LEVEL });
}

/**
 * log2 of the bytes around an entry's address within which an operation by address finds it: the span of its descriptor, even where less is
 * held.
 */
function spanShift({ level, pageShift, shift }: TlbEntry): number {
  return Math.max(shift, pageShift + (pageShift - 3) * (3 - level));
}

function addressMatches(scope: TlbiScope, entry: TlbEntry): boolean {
  if (scope.end === ADDRESS_END && scope.start === 0) return true;
  const shift = spanShift(entry);
  const first = alignDown(entry.input, shift);
  return first < scope.end && first + pow2(shift) > scope.start;
}

/** By the hint a table above the leaf's level goes, and a leaf of exactly that level; anything else means that the hint is wrong. */
function hintMatches({ pageShift, level, contradictory }: TlbiScope, entry: TlbEntry): boolean {
  if (contradictory || (pageShift !== 0 && pageShift !== entry.pageShift)) return false;
  if (level === NO_LEVEL) return true;
  return entry.kind === 'leaf' ? entry.level === level : entry.level < level;
}

function tagsMatch(scope: TlbiScope, entry: TlbEntry): boolean {
  if (scope.regime !== entry.regime) return false;
  if (entry.stage === 'stage2' ? !scope.stage2 : !scope.stage1) return false;
  if (scope.vmid !== -1 && scope.vmid !== entry.vmid) return false;
  if (scope.asid === -1 || entry.stage === 'stage2') return true;
  return entry.asid === -1 ? scope.global : entry.asid === scope.asid;
}

/**
 * Whether an invalidation is sure to remove an entry. An operation by VA finds every entry made of the stage-1 descriptor that covers the
 * address, however finely stage 2 splits it; an operation by IPA finds entries of stage 2 alone, never combined ones (DDI 0487 D8.17).
 * @param heedHints false: as hardware that ignores level and granule hints, which removes what the address alone names
 */
export function inScope(scope: TlbiScope, entry: TlbEntry, heedHints = true): boolean {
  return (
    tagsMatch(scope, entry) &&
    !(scope.lastLevel && entry.kind === 'table') &&
    addressMatches(scope, entry) &&
    (!heedHints || hintMatches(scope, entry))
  );
}
