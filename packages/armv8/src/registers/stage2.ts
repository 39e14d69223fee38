import { done, refused, type Features, type Outcome, type RegisterCodec } from '@granule/contract';
import { PA_RANGES, type Granule, type Level } from '@granule/geometry';
import { encodeBase } from './base.js';
import { systemRegisters } from './codec.js';
import { TG0_GRANULES } from './control-tables.js';

/** VTCR_EL2.SL0 and SL2 by granule and start level (DDI 0487, VTCR_EL2.SL0). SL2 has a meaning with 4K and DS = 1 alone. */
export const START_LEVELS: Readonly<Record<Granule, readonly { readonly level: Level; readonly sl0: number; readonly sl2?: 1 }[]>> = {
  '4K': [
    { level: 2, sl0: 0 },
    { level: 1, sl0: 1 },
    { level: 0, sl0: 2 },
    { level: 3, sl0: 3 },
    { level: -1, sl0: 0, sl2: 1 },
  ],
  '16K': [
    { level: 3, sl0: 0 },
    { level: 2, sl0: 1 },
    { level: 1, sl0: 2 },
    { level: 0, sl0: 3 },
  ],
  '64K': [
    { level: 3, sl0: 0 },
    { level: 2, sl0: 1 },
    { level: 1, sl0: 2 },
  ],
};

type Stage2Config = Parameters<RegisterCodec['encodeStage2']>[0];

function vmidProblem(vmid: number, bits: number): string | undefined {
  if (Number.isInteger(vmid) && vmid >= 0 && vmid < 2 ** bits) return undefined;
  return `VMID ${vmid} does not fit the ${bits} bits of this implementation.`;
}

/**
 * VTCR_EL2 and VTTBR_EL2 as KVM writes them (Linux kvm_get_vtcr): walks Inner Shareable and Write-Back, HA as `ha` says (default:
 * FEAT_HAFDBS), VS where VMIDs have 16 bits, HD and CnP clear. Refused: `registers.vmid`, `registers.root-*`.
 */
export function encodeStage2({
  geometry,
  features,
  root = 0,
  vmid = 0,
  ha,
}: Stage2Config): Outcome<{ readonly vtcr: bigint; readonly vttbr: bigint }> {
  const { granule, startLevel } = geometry;
  const start = START_LEVELS[granule].find(({ level }) => level === startLevel);
  if (geometry.stage !== 2 || start === undefined) {
    const sentence = `VTCR_EL2 cannot say stage ${geometry.stage} from level ${startLevel} with ${granule} pages.`;
    return refused('registers.not-stage-2', sentence, 'DDI 0487 VTCR_EL2.SL0');
  }
  const vmidBits: Features['vmidBits'] = features.vmidBits ?? 8;
  const misfit = vmidProblem(vmid, vmidBits);
  if (misfit !== undefined) return refused('registers.vmid', misfit, 'DDI 0487 VTCR_EL2.VS');
  const base = encodeBase(root, geometry);
  if (typeof base !== 'bigint') return base;
  const vtcr = systemRegisters.encode('VTCR_EL2', {
    T0SZ: 64 - geometry.iaBits,
    SL0: start.sl0,
    SL2: start.sl2 ?? 0,
    IRGN0: 1,
    ORGN0: 1,
    SH0: 3,
    TG0: TG0_GRANULES.indexOf(granule),
    PS: PA_RANGES.indexOf(geometry.oaBits),
    VS: vmidBits === 16 ? 1 : 0,
    HA: ha ?? features.haf === true ? 1 : 0,
    DS: geometry.ds ? 1 : 0,
  });
  if (vtcr.kind !== 'done') return vtcr;
  return done({ vtcr: vtcr.value, vttbr: base | (BigInt(vmid) << 48n) });
}
