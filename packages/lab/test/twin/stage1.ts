import { bit, field, isOnes, isZero, slice } from './bits.js';
import { deviceAttrs, effectiveShareability, normalBoth, normalNC, s1DecodeMemAttrs, type MemoryAttributes } from './attributes.js';
import { Fault, type AccessDescriptor, type FaultType } from './faults.js';
import type { TwinMachine } from './machine.js';
import { getS1TTWParams, hasUnprivileged, type Regime, type S1Params } from './params.js';
import { applyOutputPerms, applyTablePerms, noPermissions, s1PermissionFault, type S1Permissions } from './permissions.js';
import { decodeDescriptorType, descriptorBase, iaSize, maxTxSZ, oaOutOfRange, s1MinTxSZ, s1StartLevel, translationSize, ttBaseAddress, ttEntryAddress } from './sizes.js';
import { s2Translate, updated, type Leaf, type Located } from './stage2.js';

const raise = (type: FaultType, level: number): never => {
  throw new Fault(type, level);
};

const sctlrOf = (machine: TwinMachine, regime: Regime): bigint => machine.reg(regime === 'EL10' ? 'SCTLR_EL1' : 'SCTLR_EL2');

/** AArch64.S1Enabled. */
function s1Enabled(machine: TwinMachine, regime: Regime): boolean {
  const hcr = machine.reg('HCR_EL2');
  return bit(sctlrOf(machine, regime), 0) && !(regime === 'EL10' && (bit(hcr, 12) || bit(hcr, 27)));
}

/** AArch64.AddrTop. */
const addrTop = ({ tbi, tbid }: S1Params, acc: AccessDescriptor): number => (tbi && !(tbid && acc.acctype === 'ifetch') ? 55 : 63);

/** AArch64.S1DisabledOutput. */
function s1DisabledOutput(machine: TwinMachine, regime: Regime, va: bigint, acc: AccessDescriptor): Located {
  const { paMax } = machine.features;
  const params = getS1TTWParams(machine, regime, va);
  if (!isZero(va, addrTop(params, acc), paMax)) raise('address-size', 0);
  const address = slice(va, paMax - 1, 0);
  const hcr = machine.reg('HCR_EL2');
  if (regime === 'EL10' && bit(hcr, 12)) return { address, memattrs: { ...normalBoth('WB', 3n, 0n, false), tagged: machine.features.mte2 && bit(hcr, 57) } };
  if (acc.acctype !== 'ifetch') return { address, memattrs: deviceAttrs(0n, 2n, true) };
  const cached = bit(sctlrOf(machine, regime), 12);
  return { address, memattrs: cached ? normalBoth('WT', 2n, 2n, true) : normalNC(true) };
}

/** AArch64.VAIsOutOfRange. */
function vaIsOutOfRange(va: bigint, acc: AccessDescriptor, regime: Regime, params: S1Params): boolean {
  const top = addrTop(params, acc);
  const size = iaSize(params);
  return hasUnprivileged(regime) && bit(va, 55) ? !isOnes(va, top, size) : !isZero(va, top, size);
}

interface Walked extends Leaf {
  readonly permissions: S1Permissions;
}

/** The descriptor at an address of the walk, which stage 2 translates in EL1&0; and where in memory it is. */
function tableAccess(machine: TwinMachine, regime: Regime, address: bigint, write: boolean): bigint {
  const acc: AccessDescriptor = { acctype: 'ttw', el: 1, read: true, write, pan: false };
  return regime === 'EL10' ? s2Translate(machine, { address, memattrs: normalNC(true) }, acc).address : address;
}

/** AArch64.S1Walk. */
function s1Walk(machine: TwinMachine, regime: Regime, params: S1Params, va: bigint): Walked {
  const { features } = machine;
  if (params.epd) raise('translation', 0);
  const start = s1StartLevel(params);
  const permissions = noPermissions();
  let base = ttBaseAddress(features, params, start, params.ttbr);
  if (oaOutOfRange(features, params, base)) raise('address-size', 0);
  for (let level = start; ; level += 1) {
    const at = ttEntryAddress(params, level, start, va, base);
    const pa = tableAccess(machine, regime, at, false);
    const descriptor = machine.fetch(pa, params.ee) ?? raise('external', level);
    const type = decodeDescriptorType(features, params, descriptor, level);
    if (type === 'invalid') raise('translation', level);
    base = descriptorBase(features, params, descriptor, type === 'table' ? params.tgx : translationSize(params.tgx, level));
    if (oaOutOfRange(features, params, base)) raise('address-size', level);
    if (type === 'table') {
      applyTablePerms(permissions, descriptor, regime, params);
      continue;
    }
    applyOutputPerms(permissions, descriptor, regime, params);
    if (!bit(descriptor, 10) && !params.ha) raise('access-flag', level);
    return { level, descriptor, at, base, permissions };
  }
}

/** The attributes of the leaf as AArch64.S1Translate hands them on. Under a stage 2 shareability stays the descriptor's (the choice that was recorded). */
function s1Attributes(machine: TwinMachine, regime: Regime, params: S1Params, descriptor: bigint, acc: AccessDescriptor): MemoryAttributes {
  const index = field(descriptor, 4, 2);
  const sh = params.ds ? params.sh : slice(descriptor, 9, 8);
  const walked = s1DecodeMemAttrs(machine, slice(params.mair, 8 * index + 7, 8 * index), sh);
  const sctlr = sctlrOf(machine, regime);
  const device = walked.memtype === 'device';
  const noncacheable = acc.acctype === 'ifetch' ? device || !bit(sctlr, 12) : !bit(sctlr, 2) && !device;
  const memattrs = noncacheable ? normalNC(walked.xs) : walked;
  const hcr = machine.reg('HCR_EL2');
  return { ...memattrs, shareability: regime === 'EL10' && bit(hcr, 0) ? walked.shareability : effectiveShareability(memattrs) };
}

/** AArch64.S1Translate. */
export function s1Translate(machine: TwinMachine, regime: Regime, va: bigint, acc: AccessDescriptor): Located {
  if (!s1Enabled(machine, regime)) return s1DisabledOutput(machine, regime, va, acc);
  const { features } = machine;
  const params = getS1TTWParams(machine, regime, va);
  if (params.txsz < s1MinTxSZ(features, params) || params.txsz > maxTxSZ(features, params.tgx)) raise('translation', 0);
  if (vaIsOutOfRange(va, acc, regime, params)) raise('translation', 0);
  if (acc.el === 0 && params.e0pd) raise('translation', 0);
  const { level, descriptor, at, base, permissions } = s1Walk(machine, regime, params, va);
  if (s1PermissionFault(features, regime, permissions, params, acc)) raise('permission', level);
  const fresh = updated(descriptor, acc, params, (word) => word & ~(1n << 7n));
  if (fresh !== descriptor) machine.swap(tableAccess(machine, regime, at, true), fresh, params.ee);
  const size = translationSize(params.tgx, level);
  return { address: base | slice(va, size - 1, 0), memattrs: s1Attributes(machine, regime, params, descriptor, acc) };
}

/** AArch64.FullTranslate. */
export function fullTranslate(machine: TwinMachine, regime: Regime, va: bigint, acc: AccessDescriptor): Located {
  const ipa = s1Translate(machine, regime, va, acc);
  return regime === 'EL10' ? s2Translate(machine, ipa, acc) : ipa;
}
