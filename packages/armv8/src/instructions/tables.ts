import type { OperandField } from '@granule/contract/codec';

const TLBI = 'DDI 0487 C5.5';
const AT = 'DDI 0487 C5.4';
const DC = 'DDI 0487 C5.3';

const field = (name: string, msb: number, lsb: number, clause: string): OperandField => ({ name, msb, lsb, clause });
/** VA[55:12] in [43:0]: 12 whatever the granule is. */
const VA: OperandField = { ...field('VA', 43, 0, TLBI), addressLsb: 12, wraps: true };
/** IPA[51:12] in [39:0]. */
const IPA: OperandField = { ...field('IPA', 39, 0, TLBI), addressLsb: 12 };
const ASID = field('ASID', 63, 48, TLBI);
const NS = field('NS', 63, 63, TLBI);
const TTL = field('TTL', 47, 44, TLBI);
const RANGE = [
  field('TG', 47, 46, TLBI),
  field('SCALE', 45, 44, TLBI),
  field('NUM', 43, 39, TLBI),
  field('TTL', 38, 37, TLBI),
  field('BaseADDR', 36, 0, TLBI),
];
const whole = (clause: string): OperandField => ({ ...field('VA', 63, 0, clause), addressLsb: 0, wraps: true });
const SET_WAY = [field('SetWay', 31, 4, DC), field('Level', 3, 1, DC)];

/** TLBI operations that exist plain, IS and OS, each with an nXS twin (FEAT_XS). */
const TLBI_OPERANDS: Readonly<Record<string, readonly OperandField[]>> = {
  VAE1: [ASID, TTL, VA],
  VALE1: [ASID, TTL, VA],
  VAAE1: [TTL, VA],
  VAALE1: [TTL, VA],
  ASIDE1: [ASID],
  VMALLE1: [],
  VMALLS12E1: [],
  ALLE1: [],
  IPAS2E1: [NS, TTL, IPA],
  IPAS2LE1: [NS, TTL, IPA],
  VAE2: [ASID, TTL, VA],
  VALE2: [ASID, TTL, VA],
  ALLE2: [],
  RVAE1: [ASID, ...RANGE],
  RVALE1: [ASID, ...RANGE],
  RVAAE1: RANGE,
  RVAALE1: RANGE,
  RIPAS2E1: [NS, ...RANGE],
  RIPAS2LE1: [NS, ...RANGE],
  RVAE2: [ASID, ...RANGE],
  RVALE2: [ASID, ...RANGE],
};

const AT_NAMES = [
  'S1E1R',
  'S1E1W',
  'S1E0R',
  'S1E0W',
  'S1E1RP',
  'S1E1WP',
  'S1E1A',
  'S12E1R',
  'S12E1W',
  'S12E0R',
  'S12E0W',
  'S1E2R',
  'S1E2W',
  'S1E2A',
];
const BY_VA_NAMES = ['IVAC', 'CVAC', 'CVAU', 'CIVAC', 'CVAP', 'CVADP', 'ZVA', 'IVAU'];
const SET_WAY_NAMES = ['ISW', 'CSW', 'CISW', 'IGSW', 'IGDSW', 'CGSW', 'CGDSW', 'CIGSW', 'CIGDSW'];
const NO_OPERAND_NAMES = ['IALLU', 'IALLUIS'];

function operandTable(): ReadonlyMap<string, readonly OperandField[]> {
  const table = new Map<string, readonly OperandField[]>();
  for (const [name, fields] of Object.entries(TLBI_OPERANDS)) {
    for (const domain of ['', 'IS', 'OS']) {
      for (const nxs of ['', 'NXS']) table.set(name + domain + nxs, fields);
    }
  }
  for (const name of AT_NAMES) table.set(name, [whole(AT)]);
  for (const name of BY_VA_NAMES) table.set(name, [whole(DC)]);
  for (const name of SET_WAY_NAMES) table.set(name, SET_WAY);
  for (const name of NO_OPERAND_NAMES) table.set(name, []);
  return table;
}

/** Operand fields by instruction: TLBI, AT, DC and IC operations by their Arm names (`IPAS2E1IS`, `S12E1R`, `CIVAC`, `CISW`). */
export const OPERANDS = operandTable();
