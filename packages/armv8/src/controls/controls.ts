import { done, notModelled, type ControlChoices, type Features, type Outcome, type Registers, type TranslationControls } from '@granule/contract';
import { bit, fieldReader } from './fields.js';
import { hypervisor } from './hypervisor.js';
import { stage1Control } from './stage1.js';
import { stage2Control } from './stage2.js';

/** Extensions of stage 2 that change descriptors: VTCR_EL2's field and where ID_AA64MMFR3_EL1 says whether it is implemented. */
const EXTENSIONS = [
  { field: 'D128', lsb: 32n },
  { field: 'S2PIE', lsb: 12n },
  { field: 'S2POE', lsb: 20n },
] as const;

/** SCR_EL3.PIEn = 0 keeps lower exception levels from indirect permissions. */
const PIEN = 1n << 45n;

function extensionInForce(registers: Registers): string | undefined {
  const vtcr = fieldReader(registers, 'VTCR_EL2');
  const mmfr3 = registers['ID_AA64MMFR3_EL1'];
  const scr = registers['SCR_EL3'];
  return EXTENSIONS.find(({ field, lsb }) => {
    const implemented = mmfr3 === undefined || ((mmfr3 >> lsb) & 0xfn) !== 0n;
    const gated = field === 'S2PIE' && scr !== undefined && (scr & PIEN) === 0n;
    return bit(vtcr, field) && implemented && !gated;
  })?.field;
}

/**
 * Everything that a walker needs to know: EL1&0, EL2 or EL2&0 as HCR_EL2.E2H says, and stage 2. Not modelled: `registers.extension`, for VTCR_EL2 with
 * D128, S2PIE or S2POE in force.
 */
export function controls(registers: Registers, features: Partial<Features>, choices: ControlChoices = {}): Outcome<TranslationControls> {
  const extension = extensionInForce(registers);
  if (extension !== undefined) {
    return notModelled('registers.extension', `VTCR_EL2.${extension} is 1, which this model does not cover.`, `DDI 0487 VTCR_EL2.${extension}`);
  }
  const { e2h } = hypervisor(registers, features);
  return done({
    stage1: [stage1Control('el10', registers, features, choices), stage1Control(e2h ? 'el20' : 'el2', registers, features, choices)],
    virtualised: 'el10',
    stage2: stage2Control(registers, features, choices),
  });
}
