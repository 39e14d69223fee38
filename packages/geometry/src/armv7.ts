import type { Level } from './granule.js';
import { levels } from './levels.js';
import { done, refuse, type Refused, type Result } from './refusal.js';
import { rangeProblem, startLevelRange } from './start-level.js';
import { tableGeometry, type TableGeometry } from './table-geometry.js';

/** Output address size of the ARMv7 long-descriptor format, bits. */
const OA_BITS = 40;

const S2_SOURCE = 'ARM DDI 0406C, VTCR.T0SZ and VTCR.SL0';
const S1_SOURCE = 'ARM DDI 0406C, TTBCR.T0SZ and TTBCR.T1SZ (TTBCR.EAE = 1)';

export interface Armv7Stage2Options {
  /** 32 − VTCR.T0SZ, which is signed: 25 … 40. KVM on 32-bit hosts always takes 40. */
  readonly ipaBits: number;
  /** 1 (31 … 40 bits) or 2 (25 … 34 bits). Default: the deepest that is legal, which is KVM's level 1 with two tables for 40 bits. */
  readonly startLevel?: 1 | 2;
}

function startLevelProblem(ipaBits: number, startLevel: Level): Refused | undefined {
  if (startLevel === 1 || startLevel === 2) return rangeProblem('4K', ipaBits, startLevel);
  return refuse('start-level-reserved', `start level ${startLevel} does not exist at stage 2 of ARMv7`, S2_SOURCE);
}

/**
 * The geometry of an ARMv7 LPAE stage-2 table: 4K pages, levels 1 … 3, 40-bit output addresses.
 *
 * Refused: `geometry.ipa-out-of-range`, `start-level-reserved`, `start-level-too-shallow`, `concatenation-over-16`. Source: ARM DDI 0406C,
 * VTCR; Linux 4.20 arch/arm/include/asm/kvm_arm.h (KVM_T0SZ, KVM_VTCR_SL0, VTTBR_X).
 */
export function armv7Stage2Geometry({ ipaBits, startLevel }: Armv7Stage2Options): Result<TableGeometry> {
  if (!Number.isInteger(ipaBits) || ipaBits < 25 || ipaBits > OA_BITS) {
    return refuse('ipa-out-of-range', `IPA size is ${ipaBits}; with ARMv7 it is 25 to 40 bits`, S2_SOURCE);
  }
  const chosen = startLevel ?? (ipaBits <= startLevelRange('4K', 2).max ? 2 : 1);
  const problem = startLevelProblem(ipaBits, chosen);
  if (problem !== undefined) return problem;
  return done(tableGeometry({ stage: 2, granule: '4K', iaBits: ipaBits, oaBits: OA_BITS, startLevel: chosen, ds: false }));
}

/**
 * The geometry of an ARMv7 LPAE stage-1 table (PL1&0 through one TTBR, or PL2): start level 1 for 31 and 32 bits, 2 below.
 *
 * @param vaBits 32 − TxSZ (3 bits): 25 … 32; anything else is refused as `geometry.va-out-of-range`
 */
export function armv7Stage1Geometry({ vaBits }: { readonly vaBits: number }): Result<TableGeometry> {
  if (!Number.isInteger(vaBits) || vaBits < 25 || vaBits > 32) {
    return refuse('va-out-of-range', `VA size is ${vaBits}; with ARMv7 it is 25 to 32 bits`, S1_SOURCE);
  }
  const startLevel = (4 - levels('4K', vaBits)) as Level;
  return done(tableGeometry({ stage: 1, granule: '4K', iaBits: vaBits, oaBits: OA_BITS, startLevel, ds: false }));
}

/** The virtual addresses [start, end) that one TTBR translates. Its table is indexed by the low `geometry.iaBits` bits of an address. */
export interface Armv7Range {
  readonly start: number;
  /** Exclusive, at most 2^32. */
  readonly end: number;
  readonly geometry: TableGeometry;
}

function range(start: number, end: number, vaBits: number): Result<Armv7Range> {
  const geometry = armv7Stage1Geometry({ vaBits });
  return geometry.kind === 'refused' ? geometry : done({ start, end, geometry: geometry.value });
}

/**
 * How TTBCR.T0SZ and T1SZ share the 4 GiB between TTBR0 (`lower`) and TTBR1 (`upper`). With both zero TTBR0 has everything and `upper` is
 * undefined; with one of them zero its range is all that the other leaves; with neither zero there is a hole between, which faults.
 *
 * Refused: `geometry.txsz-out-of-range` for a field outside 0 … 7. Source: ARM DDI 0406C B3.6, Selecting between TTBR0 and TTBR1.
 */
export function armv7Stage1Split(fields: { readonly t0sz: number; readonly t1sz: number }): Result<{
  readonly lower: Armv7Range;
  readonly upper: Armv7Range | undefined;
}> {
  const { t0sz, t1sz } = fields;
  for (const [name, value] of Object.entries({ T0SZ: t0sz, T1SZ: t1sz })) {
    if (!Number.isInteger(value) || value < 0 || value > 7) {
      return refuse('txsz-out-of-range', `TTBCR.${name} is ${value}; it has 3 bits, 0 to 7`, S1_SOURCE);
    }
  }
  const top = 2 ** 32;
  const upperStart = t1sz === 0 ? 2 ** (32 - t0sz) : top - 2 ** (32 - t1sz);
  const lower = range(0, t0sz === 0 ? upperStart : 2 ** (32 - t0sz), 32 - t0sz);
  if (lower.kind === 'refused') return lower;
  if (upperStart === top) return done({ lower: lower.value, upper: undefined });
  const upper = range(upperStart, top, 32 - t1sz);
  return upper.kind === 'refused' ? upper : done({ lower: lower.value, upper: upper.value });
}
