import type { TlbEntry, TlbQuery } from '@granule/contract';

/**
 * The naive twin: a list of entries and the requirements of DDI 0487 C5.5 written out on 64-bit words, as the pages of the instructions
 * state them. It knows names and operand words, nothing of the model's table or scopes.
 */
export interface TwinState {
  readonly vmid: number;
  readonly e2h: boolean;
  readonly tge: boolean;
  readonly lpa2: boolean;
  readonly ds: boolean;
}

const bits = (word: bigint, msb: number, lsb: number): bigint => (word >> BigInt(lsb)) & ((1n << BigInt(msb - lsb + 1)) - 1n);

/** A 64-bit VA (sign-extended from bit 52 of the TLB address), or an IPA. */
export const canonical = (address: number): bigint => {
  const value = BigInt(address);
  return value >= 1n << 52n ? (1n << 64n) - ((1n << 53n) - value) : value;
};

const spanOf = ({ pageShift, level, shift }: TlbEntry): bigint => {
  const span = { 12: [48, 39, 30, 21, 12], 14: [58, 47, 36, 25, 14], 16: [68, 55, 42, 29, 16] }[pageShift]![level + 1];
  return BigInt(Math.max(span, shift));
};

const GRANULE = [0, 12, 14, 16];

function hinted(entry: TlbEntry, granule: number, level: bigint): boolean {
  if (granule !== entry.pageShift) return false;
  return entry.kind === 'leaf' ? BigInt(entry.level) === level : BigInt(entry.level) < level;
}

/** TTL[3:0] of an operation by address. */
function ttlKeeps(entry: TlbEntry, ttl: bigint, { lpa2 }: TwinState): boolean {
  const granule = GRANULE[Number(ttl >> 2n)];
  const level = ttl & 3n;
  if (granule === 0) return false;
  if (level === 0n && !(granule === 12 && lpa2)) return false;
  if (level === 1n && granule === 14 && !lpa2) return false;
  return !hinted(entry, granule, level);
}

function inRange(entry: TlbEntry, word: bigint, state: TwinState, hints: boolean): boolean {
  const granule = GRANULE[Number(bits(word, 47, 46))];
  if (granule === 0) return false;
  const unit = BigInt(state.ds ? 16 : granule);
  const base = bits(word, 36, 0);
  const signed = base >= 1n << 36n ? base - (1n << 37n) : base;
  const start = BigInt.asUintN(64, signed << unit);
  const bytes = (bits(word, 43, 39) + 1n) << (5n * bits(word, 45, 44) + 1n + BigInt(granule));
  let last = BigInt.asUintN(64, start + bytes) - 1n;
  if (bits(last, 52, 52) !== bits(start, 52, 52) || last < start) last = bits(start, 52, 52) === 1n ? (1n << 64n) - 1n : (1n << 52n) - 1n;
  const first = (canonical(entry.input) >> spanOf(entry)) << spanOf(entry);
  if (first > last || first + (1n << spanOf(entry)) - 1n < start) return false;
  if (!hints) return true;
  if (granule !== entry.pageShift) return false;
  const ttl = bits(word, 38, 37);
  if (ttl === 0n || (ttl === 1n && granule === 14 && !state.lpa2)) return true;
  const leafShift = BigInt(granule + (granule - 3) * (3 - Number(ttl)));
  return start % (1n << leafShift) === 0n && hinted(entry, granule, ttl);
}

/** Whether the instruction is sure to remove the entry; `hints` false: taking level and granule for what they are not. */
export function removes(name: string, word: bigint, state: TwinState, entry: TlbEntry, hints = true): boolean {
  const parsed = /^(R)?(VAA|VA|IPAS2|ASID|VMALLS12|VMALL|ALL)(L)?E([12])(IS|OS)?(NXS)?$/.exec(name);
  if (parsed === null) throw new Error(`the twin does not know ${name}`);
  const [, range, what, last, el] = parsed;
  const guest = what === 'IPAS2' || what === 'VMALLS12' || (what === 'ALL' && el === '1');
  const host = el === '1' ? state.e2h && state.tge : state.e2h;
  const regime = guest ? 'el10' : host ? 'el20' : el === '1' ? 'el10' : 'el2';
  if (entry.regime !== regime) return false;
  if (entry.stage === 'stage2' && !guest) return false;
  if (entry.stage !== 'stage2' && what === 'IPAS2') return false;
  if (last !== undefined && entry.kind === 'table') return false;
  if (regime === 'el10' && what !== 'ALL' && entry.vmid !== state.vmid) return false;
  if ((what === 'VA' || what === 'ASID') && regime !== 'el2') {
    const globalLeaf = entry.asid === -1;
    if (globalLeaf ? what === 'ASID' : BigInt(entry.asid) !== bits(word, 63, 48)) return false;
  }
  if (range !== undefined) return inRange(entry, word, state, hints);
  if (what !== 'VA' && what !== 'VAA' && what !== 'IPAS2') return true;
  const page = what === 'IPAS2' ? bits(word, 39, 0) : bits(word, 43, 0);
  const address = bits(page << 12n, 52, 0);
  const input = bits(canonical(entry.input), 52, 0);
  if (address >> spanOf(entry) !== input >> spanOf(entry)) return false;
  return !(hints && ttlKeeps(entry, bits(word, 47, 44), state));
}

/** Entries that a lookup may use. */
export function answering(entries: readonly TlbEntry[], query: TlbQuery): TlbEntry[] {
  return entries.filter(
    (entry) =>
      entry.regime === query.regime &&
      entry.stage === query.stage &&
      entry.kind === query.kind &&
      (entry.regime !== 'el10' || entry.vmid === query.vmid) &&
      (entry.asid === -1 || entry.asid === query.asid) &&
      BigInt(entry.input) >> BigInt(entry.shift) === BigInt(query.address) >> BigInt(entry.shift),
  );
}
