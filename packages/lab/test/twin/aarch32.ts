import { align, bit, field, isOnes, isZero, slice } from './bits.js';
import { deviceAttrs, effectiveShareability, normalBoth, normalNC, s1DecodeMemAttrs, s2CombineS1MemAttrs, s2DecodeMemAttrs, type MemoryAttributes } from './attributes.js';
import { Fault, type AccessDescriptor, type FaultType } from './faults.js';
import type { TwinMachine } from './machine.js';
import type { Located } from './stage2.js';

/** The long-descriptor format of ARMv7 (DDI 0406C B3.6), for data accesses: 4K, levels 1 to 3, 40-bit addresses, no hardware updates. */

type Regime32 = 'PL10' | 'PL2';
type Raise = (type: FaultType, level: number) => never;

interface Leaf32 {
  readonly level: number;
  readonly descriptor: bigint;
  readonly base: bigint;
  /** APTable, accumulated. */
  readonly apTable: bigint;
}

/** The walk of both stages. `load` reads a descriptor at an address that its stage puts out. */
function walk32(start: number, iaBits: number, ttbr: bigint, ia: bigint, load: (address: bigint, level: number) => bigint, raise: Raise): Leaf32 {
  const tableSize = iaBits - ((3 - start) * 9 + 12) + 3;
  let base = align(slice(ttbr, 39, 0), tableSize);
  let apTable = 0n;
  for (let level = start; ; level += 1) {
    const lsb = (3 - level) * 9 + 12;
    const msb = level === start ? iaBits - 1 : lsb + 8;
    const descriptor = load(base | (slice(ia, msb, lsb) << 3n), level);
    const low = descriptor & 3n;
    if (low === 3n && level < 3) {
      apTable |= slice(descriptor, 62, 61);
      base = align(slice(descriptor, 39, 0), 12);
      continue;
    }
    if (low !== (level === 3 ? 3n : 1n)) raise('translation', level);
    if (!bit(descriptor, 10)) raise('access-flag', level);
    return { level, descriptor, base: align(slice(descriptor, 39, 0), lsb), apTable };
  }
}

const output = ({ level, base }: Leaf32, ia: bigint): bigint => base | slice(ia, (3 - level) * 9 + 11, 0);

/** AArch32.S2Translate. */
function s2Translate32(machine: TwinMachine, ipa: Located, acc: AccessDescriptor): Located {
  const hcr = machine.reg('HCR');
  if (!bit(hcr, 0) && !bit(hcr, 12)) return ipa;
  const raise: Raise = (type, level) => {
    throw new Fault(type, level, true, acc.acctype === 'ttw', ipa.address);
  };
  const vtcr = machine.reg('VTCR');
  const iaBits = 32 - Number(BigInt.asIntN(4, vtcr));
  const sl0 = field(vtcr, 7, 6);
  const start = 2 - sl0;
  const least = (3 - start) * 9 + 13;
  if (sl0 > 1 || iaBits < least || iaBits > least + 12 || !isZero(ipa.address, 55, iaBits)) raise('translation', 1);
  const ee = bit(machine.reg('HSCTLR'), 25);
  const load = (address: bigint, level: number): bigint => machine.fetch(address, ee) ?? raise('external', level);
  const leaf = walk32(start, iaBits, machine.reg('VTTBR'), ipa.address, load, raise);
  const { descriptor, level } = leaf;
  const s2 = s2DecodeMemAttrs(slice(descriptor, 5, 2), slice(descriptor, 9, 8), true);
  const ptw = !bit(hcr, 27) && bit(hcr, 2);
  if (acc.acctype === 'ttw' && ptw && s2.memtype === 'device') raise('permission', level);
  if (!bit(descriptor, acc.write ? 7 : 6)) raise('permission', level);
  return { address: output(leaf, ipa.address), memattrs: s2CombineS1MemAttrs(ipa.memattrs, s2) };
}

/** AArch32.GetVARange and AArch32.VAIsOutOfRange: T0SZ, T1SZ, and which the address is in. */
function rangeOf(va: bigint, t0sz: number, t1sz: number): 'lower' | 'upper' | undefined {
  const lower = isZero(va, 31, 32 - t0sz);
  const upper = isOnes(va, 31, 32 - t1sz);
  if (t1sz === 0) return t0sz === 0 || lower ? 'lower' : 'upper';
  if (t0sz === 0) return upper ? 'upper' : 'lower';
  return lower ? 'lower' : upper ? 'upper' : undefined;
}

const s1Raise: Raise = (type, level) => {
  throw new Fault(type, level);
};

interface Range32 {
  readonly txsz: number;
  readonly ttbr: bigint;
}

function s1Range(machine: TwinMachine, regime: Regime32, va: bigint): Range32 {
  if (regime === 'PL2') {
    const txsz = field(machine.reg('HTCR'), 2, 0);
    if (!isZero(va, 31, 32 - txsz)) s1Raise('translation', 1);
    return { txsz, ttbr: machine.reg('HTTBR') };
  }
  const ttbcr = machine.reg('TTBCR');
  const t0sz = field(ttbcr, 2, 0);
  const t1sz = field(ttbcr, 18, 16);
  const range = rangeOf(va, t0sz, t1sz) ?? s1Raise('translation', 1);
  if (bit(ttbcr, range === 'lower' ? 7 : 23)) s1Raise('translation', 1);
  return range === 'lower' ? { txsz: t0sz, ttbr: machine.reg('TTBR0') } : { txsz: t1sz, ttbr: machine.reg('TTBR1') };
}

/** AArch32.S1CheckPermissions of data. */
function refused(regime: Regime32, { descriptor, apTable }: Leaf32, acc: AccessDescriptor): boolean {
  const writable = !bit(descriptor, 7) && !bit(apTable, 1);
  const unprivileged = regime === 'PL10' && bit(descriptor, 6) && !bit(apTable, 0);
  return (acc.el === 0 && !unprivileged) || (acc.write && !writable);
}

function s1Attributes32(machine: TwinMachine, regime: Regime32, descriptor: bigint, sctlr: bigint): MemoryAttributes {
  const [low, high] = regime === 'PL2' ? ['HMAIR0', 'HMAIR1'] : ['MAIR0', 'MAIR1'];
  const mair = BigInt.asUintN(32, machine.reg(low)) | (machine.reg(high) << 32n);
  const index = field(descriptor, 4, 2);
  const walked = s1DecodeMemAttrs(machine, slice(mair, 8 * index + 7, 8 * index), slice(descriptor, 9, 8));
  const memattrs = !bit(sctlr, 2) && walked.memtype === 'normal' ? normalNC(true) : walked;
  const stage2 = regime === 'PL10' && bit(machine.reg('HCR'), 0);
  return { ...memattrs, shareability: stage2 ? walked.shareability : effectiveShareability(memattrs) };
}

/** AArch32.S1Translate. */
function s1Translate32(machine: TwinMachine, regime: Regime32, va: bigint, acc: AccessDescriptor): Located {
  const hcr = machine.reg('HCR');
  const sctlr = machine.reg(regime === 'PL2' ? 'HSCTLR' : 'SCTLR');
  const defaultCacheable = regime === 'PL10' && bit(hcr, 12);
  if (defaultCacheable) return { address: va, memattrs: normalBoth('WB', 3n, 0n, false) };
  if (!bit(sctlr, 0) || (regime === 'PL10' && bit(hcr, 27))) return { address: va, memattrs: deviceAttrs(0n, 2n, true) };
  const { txsz, ttbr } = s1Range(machine, regime, va);
  const iaBits = 32 - txsz;
  const start = 3 - Math.floor((iaBits - 13) / 9);
  const load = (address: bigint, level: number): bigint => {
    const table: Located = { address, memattrs: normalNC(true) };
    const at = regime === 'PL10' ? s2Translate32(machine, table, { ...acc, acctype: 'ttw', read: true, write: false }).address : address;
    return machine.fetch(at, bit(sctlr, 25)) ?? s1Raise('external', level);
  };
  const leaf = walk32(start, iaBits, ttbr, va, load, s1Raise);
  if (refused(regime, leaf, acc)) s1Raise('permission', leaf.level);
  return { address: output(leaf, va), memattrs: s1Attributes32(machine, regime, leaf.descriptor, sctlr) };
}

/** AArch32.FullTranslate, or its stage 1 alone. */
export function translate32(machine: TwinMachine, regime: Regime32, both: boolean, va: bigint, acc: AccessDescriptor): Located {
  const ipa = s1Translate32(machine, regime, va, acc);
  return both ? s2Translate32(machine, ipa, acc) : ipa;
}
