import type { ControlChoices } from '@granule/contract';
import { SHAREABLE } from './attributes.js';

/** What the architecture leaves to the implementation, by name. The defaults are those of the implementation behind the recorded vectors. */
export interface Choices extends ControlChoices {
  /** SH = 0b01 is reserved: as which of the others it acts; `as-written` shows it in PAR and combines it as Non-shareable (DDI 0487 D8.6.2). */
  readonly reservedShareability?: 'as-written' | 'non' | 'outer' | 'inner';
  /**
   * What stage 2 combines with where stage 1 is Device or Non-cacheable: the SH that its descriptor says, or Outer Shareable, as such memory is treated
   * (DDI 0487 AArch64.S1Translate, "Apply effective shareability at stage 1"). It shows where FWB makes such memory Write-Back. Default `descriptor`.
   */
  readonly stage1Shareability?: 'descriptor' | 'effective';
  /** An instruction fetch from Device memory: as if it were Non-cacheable, or a permission fault (DDI 0487 K1.2, INSTRDEVICE). Default `permit`. */
  readonly fetchFromDevice?: 'permit' | 'fault';
  /**
   * Whether an address translation instruction sets access flags where hardware manages them: of the stage-2 leaves that stage-1 tables lie in alone
   * (`tables`), or of every leaf that it uses (`all`), or of none (DDI 0487 D8.5.1). Default `tables`.
   */
  readonly atSetsAccessFlag?: 'none' | 'tables' | 'all';
  /** Whether a permission fault leaves the access flag set that its walk found clear (DDI 0487 AArch64.SettingAccessFlagPermitted). Default false. */
  readonly accessFlagOnPermissionFault?: boolean;
}

/** Every choice, those that are left out by their defaults. */
export function decided(choices: Choices): Required<Choices> {
  return {
    txszOutOfRange: choices.txszOutOfRange ?? 'fault',
    reservedGranule: choices.reservedGranule ?? 'smallest',
    reservedShareability: choices.reservedShareability ?? 'as-written',
    stage1Shareability: choices.stage1Shareability ?? 'descriptor',
    fetchFromDevice: choices.fetchFromDevice ?? 'permit',
    atSetsAccessFlag: choices.atSetsAccessFlag ?? 'tables',
    accessFlagOnPermissionFault: choices.accessFlagOnPermissionFault ?? false,
  };
}

/** SH as it acts, by SH as written. */
export function shareabilityMap(choices: Choices): readonly number[] {
  const named = choices.reservedShareability ?? 'as-written';
  const reserved = named === 'as-written' ? SHAREABLE.reserved : SHAREABLE[named];
  return [SHAREABLE.non, reserved, SHAREABLE.outer, SHAREABLE.inner];
}
