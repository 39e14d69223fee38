import { bit, isZero, slice } from './bits.js';
import { normalNC, s2ApplyFWBMemAttrs, s2CombineS1MemAttrs, s2DecodeMemAttrs, type MemoryAttributes } from './attributes.js';
import { Fault, type AccessDescriptor, type FaultType } from './faults.js';
import type { TwinMachine } from './machine.js';
import { getS2TTWParams, type S2Params } from './params.js';
import { s2PermissionFault } from './permissions.js';
import {
  decodeDescriptorType, descriptorBase, iaSize, maxTxSZ, oaOutOfRange, s2InconsistentSL, s2InvalidSL, s2MinTxSZ, s2StartLevel, translationSize, ttBaseAddress,
  ttEntryAddress,
} from './sizes.js';

/** AddressDescriptor: an address and what memory it is. */
export interface Located {
  readonly address: bigint;
  readonly memattrs: MemoryAttributes;
}

export interface Leaf {
  readonly level: number;
  readonly descriptor: bigint;
  /** Where the descriptor is. */
  readonly at: bigint;
  readonly base: bigint;
}

type Raise = (type: FaultType, level: number) => never;

/** AArch64.S2Walk. */
function s2Walk(machine: TwinMachine, params: S2Params, ipa: bigint, raise: Raise): Leaf {
  const { features } = machine;
  const start = s2StartLevel(params);
  let base = ttBaseAddress(features, params, start, params.vttbr);
  if (oaOutOfRange(features, params, base)) raise('address-size', 0);
  for (let level = start; ; level += 1) {
    const at = ttEntryAddress(params, level, start, ipa, base);
    const descriptor = machine.fetch(at, params.ee) ?? raise('external', level);
    const type = decodeDescriptorType(features, params, descriptor, level);
    if (type === 'invalid') raise('translation', level);
    base = descriptorBase(features, params, descriptor, type === 'table' ? params.tgx : translationSize(params.tgx, level));
    if (oaOutOfRange(features, params, base)) raise('address-size', level);
    if (type === 'table') continue;
    if (!bit(descriptor, 10) && !params.ha) raise('access-flag', level);
    return { level, descriptor, at, base };
  }
}

/** The checks of AArch64.S2Translate before its walk: sizes, start level, the address itself. */
function illegal(machine: TwinMachine, params: S2Params, ipa: bigint): boolean {
  const { features } = machine;
  const { txsz, tgx } = params;
  if (txsz < s2MinTxSZ(features, params) || txsz > maxTxSZ(features, tgx)) return true;
  return s2InvalidSL(features, params) || s2InconsistentSL(params) || !isZero(ipa, 55, iaSize(params));
}

/** The attributes of a stage-2 leaf; with FWB those of both stages already. */
function walkedAttributes({ features }: TwinMachine, params: S2Params, ipa: Located, descriptor: bigint): MemoryAttributes {
  const attr = slice(descriptor, 5, 2);
  const sh = params.ds ? params.sh : slice(descriptor, 9, 8);
  const fnxs = features.xs && bit(descriptor, 11);
  return params.fwb ? s2ApplyFWBMemAttrs(ipa.memattrs, attr, sh, fnxs) : s2DecodeMemAttrs(attr, sh, !fnxs);
}

/** As AArch64.S2Translate combines them with those of stage 1. HCR_EL2.ID and CD make fetches and data Non-cacheable. */
function s2Attributes(machine: TwinMachine, params: S2Params, ipa: Located, walked: MemoryAttributes, { acctype }: AccessDescriptor): MemoryAttributes {
  const device = walked.memtype === 'device';
  const id = bit(machine.reg('HCR_EL2'), 33);
  const walk = acctype === 'ttw' && device && !params.ptw;
  const s2 = walk || (acctype === 'ifetch' ? device || id : !device && params.cd) ? normalNC(walked.xs) : walked;
  return params.fwb ? s2 : s2CombineS1MemAttrs(ipa.memattrs, s2);
}

/** Access flag and dirty state that hardware writes; an AT instruction leaves its own leaf as it is (the choice that was recorded). */
export function updated(descriptor: bigint, acc: AccessDescriptor, { ha, hd }: { readonly ha: boolean; readonly hd: boolean }, dirty: (word: bigint) => bigint): bigint {
  if (acc.acctype === 'at' || !ha) return descriptor;
  const young = descriptor | (1n << 10n);
  return hd && acc.write && bit(descriptor, 51) ? dirty(young) : young;
}

/** AArch64.S2Translate. */
export function s2Translate(machine: TwinMachine, ipa: Located, acc: AccessDescriptor): Located {
  const params = getS2TTWParams(machine);
  if (!params.vm) return ipa;
  const raise: Raise = (type, level) => {
    throw new Fault(type, level, true, acc.acctype === 'ttw', ipa.address);
  };
  if (illegal(machine, params, ipa.address)) raise('translation', 0);
  const { level, descriptor, at, base } = s2Walk(machine, params, ipa.address, raise);
  const walked = walkedAttributes(machine, params, ipa, descriptor);
  if (s2PermissionFault(machine.features, descriptor, params, acc, walked.memtype === 'device')) raise('permission', level);
  const fresh = updated(descriptor, acc, params, (word) => word | (1n << 7n));
  if (fresh !== descriptor) machine.swap(at, fresh, params.ee);
  const size = translationSize(params.tgx, level);
  const address = base | slice(ipa.address, size - 1, 0);
  return { address, memattrs: s2Attributes(machine, params, ipa, walked, acc) };
}

