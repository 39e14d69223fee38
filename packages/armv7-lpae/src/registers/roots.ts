import { done, notModelled, refused, type Failure, type Outcome, type RegimeRoot, type Registers } from '@granule/contract';
import { armv7Stage1Geometry, armv7Stage1Split, armv7Stage2Geometry, type Armv7Range, type TableGeometry } from '@granule/geometry';
import { format } from '../format/format.js';
import type { Regime } from '../format/shape.js';
import { cp15Registers } from './codec.js';
import { SL0_START_LEVELS } from './stage2.js';

type Fields = Readonly<Record<string, bigint>>;
type Rest = Pick<RegimeRoot, 'upper' | 'tableAddresses' | 'asid' | 'vmid' | 'range'>;

const SOURCE = 'DDI 0406C B4.1';

export function read(registers: Registers, name: string): bigint {
  return registers[name] ?? 0n;
}

/** Fields of a 32-bit register; one that is not in the set is 0. */
export function fieldsOf(registers: Registers, name: string): Fields {
  const fields = cp15Registers.decode(name, BigInt.asUintN(32, read(registers, name)));
  if (fields.kind !== 'done') throw new RangeError(fields.sentence);
  return fields.value;
}

function notInForce(sentence: string): Failure {
  return refused('registers.not-in-force', sentence, SOURCE);
}

/** MAIR1:MAIR0, or HMAIR1:HMAIR0; undefined where neither is in the set. */
export function mairOf(registers: Registers, prefix: '' | 'H'): bigint | undefined {
  const [low, high] = [registers[`${prefix}MAIR0`], registers[`${prefix}MAIR1`]];
  if (low === undefined && high === undefined) return undefined;
  return (BigInt.asUintN(32, high ?? 0n) << 32n) | BigInt.asUintN(32, low ?? 0n);
}

/** Address of the entry table: bits below its alignment and from 40 on are not address. */
export function baseAddress(register: bigint, { entryAlignment }: TableGeometry): number {
  return Number(BigInt.asUintN(40, register) & ~BigInt(entryAlignment - 1));
}

/** @param base the register that names the table @param control the one that sizes it */
function rootOf(
  registers: Registers,
  regime: Regime,
  [base, control]: readonly [base: string, control: string],
  geometry: TableGeometry,
  rest: Rest,
): Outcome<RegimeRoot> {
  const mair = regime === 's2' ? undefined : mairOf(registers, regime === 'pl2' ? 'H' : '');
  const made = format(regime, { geometry, upper: rest.upper, ...(mair === undefined ? {} : { mair }) });
  if (made.kind !== 'done') return made;
  return done({
    regime,
    format: made.value,
    root: baseAddress(read(registers, base), geometry),
    from: `${base}/${control}`,
    ...rest,
  });
}

/** Refused: `registers.sl-reserved`, `registers.illegal`. */
function stage2Geometry({ T0SZ, S, SL0 }: Fields): Outcome<TableGeometry> {
  const startLevel = SL0_START_LEVELS[Number(SL0)];
  if (startLevel === undefined) return refused('registers.sl-reserved', `VTCR.SL0 is ${SL0}, a reserved value.`, `${SOURCE}, VTCR`);
  const t0sz = Number(BigInt.asIntN(4, T0SZ));
  if ((t0sz < 0) !== (S === 1n)) {
    const sentence = `VTCR.S is ${S} with T0SZ ${T0SZ}: S must equal T0SZ[3], or the input size is UNPREDICTABLE.`;
    return refused('registers.illegal', sentence, `${SOURCE}, VTCR.S`);
  }
  const geometry = armv7Stage2Geometry({ ipaBits: 32 - t0sz, startLevel });
  return geometry.kind === 'done' ? geometry : refused('registers.illegal', `VTCR.T0SZ is ${t0sz}: ${geometry.sentence}.`, geometry.source);
}

function stage2Roots(registers: Registers): Outcome<readonly RegimeRoot[]> {
  if (read(registers, 'VTCR') === 0n && read(registers, 'VTTBR') === 0n) {
    return notInForce('VTTBR and VTCR are both 0: there is no stage-2 table.');
  }
  const geometry = stage2Geometry(fieldsOf(registers, 'VTCR'));
  if (geometry.kind !== 'done') return geometry;
  const vmid = Number((read(registers, 'VTTBR') >> 48n) & 0xffn);
  const rest = { upper: false, tableAddresses: 'physical', vmid } as const;
  const root = rootOf(registers, 's2', ['VTTBR', 'VTCR'], geometry.value, rest);
  return root.kind === 'done' ? done([root.value]) : root;
}

function pl2Roots(registers: Registers): Outcome<readonly RegimeRoot[]> {
  if (registers['HSCTLR'] !== undefined && fieldsOf(registers, 'HSCTLR')['M'] === 0n) {
    return notInForce('HSCTLR.M is 0: stage 1 of pl2 is off.');
  }
  if (read(registers, 'HTCR') === 0n && read(registers, 'HTTBR') === 0n) return notInForce('HTCR and HTTBR are both 0: pl2 has no table.');
  const geometry = armv7Stage1Geometry({ vaBits: 32 - Number(fieldsOf(registers, 'HTCR')['T0SZ']) });
  if (geometry.kind !== 'done') return geometry;
  const root = rootOf(registers, 'pl2', ['HTTBR', 'HTCR'], geometry.value, { upper: false, tableAddresses: 'physical' });
  return root.kind === 'done' ? done([root.value]) : root;
}

function pl10Off(registers: Registers): Failure | undefined {
  if (registers['SCTLR'] !== undefined && fieldsOf(registers, 'SCTLR')['M'] === 0n) {
    return notInForce('SCTLR.M is 0: stage 1 of pl10 is off.');
  }
  if (read(registers, 'TTBCR') === 0n && read(registers, 'TTBR0') === 0n) {
    return notInForce('TTBCR and TTBR0 are both 0: pl10 has no table.');
  }
  if (fieldsOf(registers, 'TTBCR')['EAE'] === 1n) return undefined;
  return notModelled('registers.short-descriptors', 'TTBCR.EAE is 0: short descriptors are not modelled.', `${SOURCE}, TTBCR.EAE`);
}

/** Which of the table's addresses go through it: all, but for TTBR1 with T1SZ = 0, whose table starts at 0. */
function partOf({ start, end, geometry }: Armv7Range): Pick<RegimeRoot, 'range'> {
  const first = 2 ** 32 - 2 ** geometry.iaBits;
  return start === 0 || start === first ? {} : { range: { start: start - first, end: end - first } };
}

/** The tables of TTBR0 and TTBR1, as TTBCR.T0SZ and T1SZ share the 4 GiB between them (DDI 0406C B3.6). */
function pl10Roots(registers: Registers): Outcome<readonly RegimeRoot[]> {
  const off = pl10Off(registers);
  if (off !== undefined) return off;
  const ttbcr = fieldsOf(registers, 'TTBCR');
  const split = armv7Stage1Split({ t0sz: Number(ttbcr['T0SZ']), t1sz: Number(ttbcr['T1SZ']) });
  if (split.kind !== 'done') return split;
  const asid = Number((read(registers, `TTBR${ttbcr['A1']}`) >> 48n) & 0xffn);
  const tableAddresses = fieldsOf(registers, 'HCR')['VM'] === 1n ? 'ipa' : 'physical';
  const roots: RegimeRoot[] = [];
  for (const [index, range] of [split.value.lower, split.value.upper].entries()) {
    if (range === undefined || ttbcr[`EPD${index}`] === 1n) continue;
    const rest = { upper: index === 1, tableAddresses, asid, ...partOf(range) } as const;
    const root = rootOf(registers, 'pl10', [`TTBR${index}`, 'TTBCR'], range.geometry, rest);
    if (root.kind !== 'done') return root;
    roots.push(root.value);
  }
  return roots.length > 0 ? done(roots) : notInForce('TTBCR puts no table of pl10 in force.');
}

/**
 * Every table of a regime that the registers put in force. A register that is not in the set counts as 0, but an absent SCTLR or HSCTLR as
 * translation on. Stage 2 does not ask for HCR.VM, because a stopped host has it clear. The table of TTBR1 is `upper`: its addresses are
 * offsets from 2^32 − 2^iaBits, so with T1SZ = 0 plain addresses, of which `range` says those that TTBR0 leaves. Refused:
 * `registers.not-in-force`, `registers.illegal`, `registers.sl-reserved`, `registers.unknown-regime`; not modelled:
 * `registers.short-descriptors`.
 */
export function roots(registers: Registers, regime: string): Outcome<readonly RegimeRoot[]> {
  switch (regime) {
    case 's2':
      return stage2Roots(registers);
    case 'pl2':
      return pl2Roots(registers);
    case 'pl10':
      return pl10Roots(registers);
    default:
      return refused('registers.unknown-regime', `Regime ${regime} is not one of pl10, pl2, s2.`, SOURCE);
  }
}
