import { armv8 } from '@granule/armv8';
import type { Features, Registers } from '@granule/contract';
import { context, createTranslation, faultOf, translate, type Access, type Choices, type DescriptorMemory, type Translation } from '../src/index.js';

/** Words of 64 bits by address; what is not there is no memory. */
export function memoryOf(words: Readonly<Record<number, bigint>>): DescriptorMemory {
  return {
    load(pa, into) {
      const word = words[pa as number];
      if (word === undefined) return false;
      into.lo = Number(word & 0xffff_ffffn);
      into.hi = Number(word >> 32n);
      return true;
    },
  };
}

/** A word with its bytes the other way round. */
export function swapped(word: bigint): bigint {
  const bytes = word.toString(16).padStart(16, '0').match(/../gu)!;
  return BigInt(`0x${bytes.reverse().join('')}`);
}

const ALL = ['4K', '16K', '64K'] as const;
export const FEATURES: Partial<Features> = {
  paBits: 48, granules1: ALL, granules2: ALL, lpa2Granules1: [], lpa2Granules2: [], xnx: true, s2fwb: true, hpds: true, haf: true, hdbs: true, pan: true, pan3: true,
  e0pd: true, vhe: true, ttst: true, pauth: true, nv: true,
};

/** Bits of registers by their Arm names. */
export const TCR = { ips48: 5n << 32n, epd1: 1n << 23n, ha: 1n << 39n, hd: 1n << 40n, t0sz39: 25n, t1sz39: 25n << 16n, tg1: 2n << 30n };
export const VTCR = { ps48: 5n << 16n, ha: 1n << 21n, hd: 1n << 22n, t0sz40: 24n, sl1: 1n << 6n };
export const HCR = { rw: 1n << 31n, vm: 1n, e2h: 1n << 34n, tge: 1n << 27n, nv: 1n << 42n, nv1: 1n << 43n };
export const SCTLR = { m: 1n, c: 1n << 2n, i: 1n << 12n, ee: 1n << 25n, wxn: 1n << 19n };
/** Leaf bits: stage 1 and stage 2. */
export const PTE = { page: 3n, block: 1n, table: 3n, af: 1n << 10n, user: 1n << 6n, readOnly: 1n << 7n, dbm: 1n << 51n, uxn: 1n << 54n, pxn: 1n << 53n, inner: 3n << 8n };
export const S2 = { read: 1n << 6n, write: 1n << 7n, af: 1n << 10n, normal: 0xfn << 2n, dbm: 1n << 51n };

/** 4K, 39-bit VA, MAIR index 0 Write-Back, tables at 0x1000 (level 1), 0x2000, 0x3000. */
export const EL1: Registers = {
  SCTLR_EL1: SCTLR.m | SCTLR.c | SCTLR.i,
  TCR_EL1: TCR.ips48 | TCR.epd1 | TCR.t0sz39,
  TTBR0_EL1: 0x1000n,
  MAIR_EL1: 0xffn,
  HCR_EL2: HCR.rw,
};
export const EL1_TABLES = { 0x1000: 0x2000n | PTE.table, 0x2000: 0x3000n | PTE.table };

/** The same under a stage 2 with a 40-bit IPA, level 1 at 0x10000: two tables, their first entry a 1 GiB block of everything. */
export const GUEST: Registers = {
  ...EL1,
  HCR_EL2: HCR.rw | HCR.vm,
  VTCR_EL2: VTCR.ps48 | VTCR.t0sz40 | VTCR.sl1,
  VTTBR_EL2: 0x10000n,
};

export const READ: Access = { regime: 'el10', type: 'read', privileged: true };
export const WRITE: Access = { ...READ, type: 'write' };
export const FETCH: Access = { ...READ, type: 'fetch' };

export interface Ran {
  readonly out: Translation;
  /** Address and new value of the words that hardware changed. */
  readonly changed: readonly (readonly [address: number, value: bigint])[];
  readonly fault: Partial<ReturnType<typeof faultOf>> | undefined;
}

export function run(registers: Registers, words: Readonly<Record<number, bigint>>, va: number | bigint, access: Access, choices: Choices = {}): Ran {
  const decoded = context(armv8, FEATURES, registers, choices);
  if (decoded.kind !== 'done') throw new Error(decoded.sentence);
  const out = createTranslation();
  const ok = translate(decoded.value, memoryOf(words), va, access, out);
  const changed = Array.from({ length: out.updates.count }, (_, i) => [out.updates.address[i], (BigInt(out.updates.newHi[i]) << 32n) | BigInt(out.updates.newLo[i])] as const);
  return { out, changed, fault: ok ? undefined : faultOf(out) };
}
