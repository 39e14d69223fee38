import { done, refused, type Outcome, type RegimeConfig, type Registers } from '@granule/contract';
import { cp15Registers } from './codec.js';
import { encodeStage2, rootProblem } from './stage2.js';

type Fields = Readonly<Record<string, bigint | number>>;

/** Walks Inner Shareable and Write-Back; translation and caches on. */
const WALKS: Fields = { SH0: 3, ORGN0: 1, IRGN0: 1 };
const ON: Fields = { M: 1, C: 1, I: 1, CP15BEN: 1 };

function encodeAll(all: Readonly<Record<string, Fields>>): Outcome<Registers> {
  const registers: Record<string, bigint> = {};
  for (const [name, fields] of Object.entries(all)) {
    const value = cp15Registers.encode(name, fields);
    if (value.kind !== 'done') return value;
    registers[name] = value.value;
  }
  return done(registers);
}

function stage2(config: RegimeConfig): Outcome<Registers> {
  const encoded = encodeStage2(config);
  if (encoded.kind !== 'done') return encoded;
  const hcr = encodeAll({ HCR: { VM: 1 } });
  return hcr.kind === 'done' ? done({ VTCR: encoded.value.vtcr, VTTBR: encoded.value.vttbr, ...hcr.value }) : hcr;
}

function stage1(config: RegimeConfig, prefix: '' | 'H', controls: Readonly<Record<string, Fields>>): Outcome<Registers> {
  const base = prefix === '' ? 'TTBR0' : 'HTTBR';
  const problem = rootProblem(config.root, config.geometry, `DDI 0406C B4.1, ${base}`);
  if (problem.kind !== 'done') return problem;
  const encoded = encodeAll(controls);
  if (encoded.kind !== 'done') return encoded;
  const mair = config.mair ?? 0n;
  return done({ ...encoded.value, [base]: BigInt(config.root), [`${prefix}MAIR0`]: mair & 0xffff_ffffn, [`${prefix}MAIR1`]: mair >> 32n });
}

/**
 * {@link RegisterCodec.encodeRegime}; `pl10` with EAE = 1 and TTBR1 switched off. Refused: `registers.unknown-regime`, `registers.not-stage-2`,
 * `registers.root-*`.
 */
export function encodeRegime(config: RegimeConfig): Outcome<Registers> {
  const T0SZ = 32 - config.geometry.iaBits;
  switch (config.regime) {
    case 's2':
      return stage2(config);
    case 'pl2':
      return stage1(config, 'H', { HTCR: { ...WALKS, T0SZ }, HSCTLR: ON });
    case 'pl10':
      return stage1(config, '', { TTBCR: { ...WALKS, T0SZ, EAE: 1, EPD1: 1 }, SCTLR: { ...ON, Z: 1 } });
    default:
      return refused('registers.unknown-regime', `Regime ${config.regime} is not one of pl10, pl2, s2.`, 'DDI 0406C B3.1');
  }
}
