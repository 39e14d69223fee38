import { done, refused, type Outcome, type RegisterCodec } from '@granule/contract';
import type { TableGeometry } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import { cp15Registers } from './codec.js';

type Stage2Config = Parameters<RegisterCodec['encodeStage2']>[0];

/** VTCR.SL0 by start level (DDI 0406C B4.1, VTCR). */
export const SL0_START_LEVELS = [2, 1] as const;

/** Refused: `registers.root-too-large`, `registers.root-not-aligned`. */
export function rootProblem(root: number, { entryAlignment, entryBytes, oaBits }: TableGeometry, source: string): Outcome<undefined> {
  if (!Number.isSafeInteger(root) || root < 0 || root >= 2 ** oaBits) {
    return refused('registers.root-too-large', `Root ${root} is not an address of ${oaBits} bits.`, source);
  }
  if (root % entryAlignment === 0) return done(undefined);
  const sentence = `Root ${hex(root)} is not aligned to the ${entryAlignment} bytes that its entry table of ${entryBytes} bytes needs.`;
  return refused('registers.root-not-aligned', sentence, source);
}

/**
 * VTCR and VTTBR as KVM writes them (Linux 4.8 arch/arm/kvm/init.S): walks Inner Shareable and Write-Back, T0SZ signed with S its sign.
 * Refused: `registers.not-stage-2`, `registers.no-ha`, `registers.vmid` (8 bits), `registers.root-*`.
 */
export function encodeStage2(config: Stage2Config): Outcome<{ readonly vtcr: bigint; readonly vttbr: bigint }> {
  const { geometry, root = 0, vmid = 0, ha } = config;
  const { granule, stage, startLevel, iaBits } = geometry;
  const sl0 = (SL0_START_LEVELS as readonly number[]).indexOf(startLevel);
  if (stage !== 2 || granule !== '4K' || sl0 < 0 || iaBits < 25 || iaBits > 40) {
    const sentence = `VTCR cannot say stage ${stage} of ${iaBits} bits from level ${startLevel} with ${granule} pages.`;
    return refused('registers.not-stage-2', sentence, 'DDI 0406C B4.1, VTCR');
  }
  if (ha === true) return refused('registers.no-ha', 'VTCR has no HA: ARMv7 does not update the access flag.', 'DDI 0406C B4.1, VTCR');
  if (!Number.isInteger(vmid) || vmid < 0 || vmid > 255) {
    return refused('registers.vmid', `VMID ${vmid} does not fit 8 bits.`, 'DDI 0406C B4.1, VTTBR');
  }
  const problem = rootProblem(root, geometry, 'DDI 0406C B4.1, VTTBR');
  if (problem.kind !== 'done') return problem;
  const t0sz = 32 - iaBits;
  const vtcr = cp15Registers.encode('VTCR', { T0SZ: t0sz & 0xf, S: t0sz < 0 ? 1 : 0, SL0: sl0, IRGN0: 1, ORGN0: 1, SH0: 3 });
  return vtcr.kind === 'done' ? done({ vtcr: vtcr.value, vttbr: BigInt(root) | (BigInt(vmid) << 48n) }) : vtcr;
}
