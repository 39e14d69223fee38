import type { Features, Registers } from '@granule/contract';
import { PA_RANGES, type Granule } from '@granule/geometry';
import { systemRegisters } from './codec.js';

type Fields = Readonly<Record<string, bigint>> | undefined;

function fieldsOf(registers: Registers, name: string): Fields {
  const value = registers[name];
  if (value === undefined) return undefined;
  const fields = systemRegisters.decode(name, value);
  return fields.kind === 'done' ? fields.value : undefined;
}

/** An identification field as a number; `absent` where the register is not in the set. */
function number(fields: Fields, name: string, absent: number): number {
  return fields === undefined ? absent : Number(fields[name]);
}

/** How each granule's fields tell support (DDI 0487, ID_AA64MMFR0_EL1): the values that mean supported, and with LPA2. */
const STAGE1_GRANULES = [
  { granule: '4K', field: 'TGran4', supported: [0, 1], lpa2: 1 },
  { granule: '16K', field: 'TGran16', supported: [1, 2], lpa2: 2 },
  { granule: '64K', field: 'TGran64', supported: [0], lpa2: -1 },
] as const;

/** TGran*_2: 0 says as stage 1, 1 not supported, 2 supported, 3 supported with LPA2. */
function granules(mmfr0: Fields): Pick<Features, 'granules1' | 'granules2' | 'lpa2Granules1' | 'lpa2Granules2'> {
  const found = { granules1: [] as Granule[], granules2: [] as Granule[], lpa2Granules1: [] as Granule[], lpa2Granules2: [] as Granule[] };
  for (const { granule, field, supported, lpa2 } of STAGE1_GRANULES) {
    const permissive = lpa2 < 0 ? supported[0] : lpa2;
    const value = number(mmfr0, field, permissive);
    const value2 = number(mmfr0, `${field}_2`, 0);
    const one = (supported as readonly number[]).includes(value);
    const two = value2 === 0 ? one : value2 === 2 || value2 === 3;
    if (one) found.granules1.push(granule);
    if (two) found.granules2.push(granule);
    if (value === lpa2) found.lpa2Granules1.push(granule);
    if (value2 === 0 ? value === lpa2 : value2 === 3) found.lpa2Granules2.push(granule);
  }
  return found;
}

/** Any of the three algorithms of FEAT_PAuth: ISAR1.APA, ISAR1.API, ISAR2.APA3. */
function pauth(registers: Registers): boolean {
  const isar1 = fieldsOf(registers, 'ID_AA64ISAR1_EL1');
  const apa3 = ((registers['ID_AA64ISAR2_EL1'] ?? 0n) >> 12n) & 0xfn;
  return number(isar1, 'APA', 0) + number(isar1, 'API', 0) + Number(apa3) > 0;
}

/**
 * The values that an absent identification register is read as: what decides whether a table can be read is there, what would save
 * maintenance is not.
 */
const ABSENT = { present: 15, missing: 0 } as const;

/**
 * Features from ID_AA64MMFR0…2, ISAR0, ISAR1, PFR1 and CTR_EL0. Of a register that is not in the set, everything that a control register
 * could ask for counts as implemented (DS, TTST, HPD, XNX …), and nothing that would allow less maintenance (TTL, TLBIRANGE, BBM, IDC,
 * DIC). Without ID_AA64ISAR0_EL1, FEAT_TLBIRANGE follows FEAT_TTL: both are mandatory from Armv8.4.
 */
export function features(registers: Registers): Features {
  const { present, missing } = ABSENT;
  const mmfr0 = fieldsOf(registers, 'ID_AA64MMFR0_EL1');
  const mmfr1 = fieldsOf(registers, 'ID_AA64MMFR1_EL1');
  const mmfr2 = fieldsOf(registers, 'ID_AA64MMFR2_EL1');
  const ctr = fieldsOf(registers, 'CTR_EL0');
  const largest = PA_RANGES.length - 1;
  const paBits = PA_RANGES[Math.min(number(mmfr0, 'PARange', largest), largest)];
  const forced = ((registers['HCR_EL2'] ?? 0n) >> 46n) & 1n;
  const ttl = number(mmfr2, 'TTL', missing) >= 1;
  return {
    paBits,
    ...granules(mmfr0),
    lpa: paBits === 52,
    lva: number(mmfr2, 'VARange', present) >= 1,
    ttst: number(mmfr2, 'ST', present) >= 1,
    xnx: number(mmfr1, 'XNX', present) >= 1,
    s2fwb: number(mmfr2, 'FWB', Number(forced)) >= 1,
    ttl,
    tlbirange: number(fieldsOf(registers, 'ID_AA64ISAR0_EL1'), 'TLB', ttl ? 2 : 0) >= 2,
    hpds: number(mmfr1, 'HPDS', present) >= 1,
    hpds2: number(mmfr1, 'HPDS', missing) >= 2,
    haf: number(mmfr1, 'HAFDBS', present) >= 1,
    hdbs: number(mmfr1, 'HAFDBS', present) >= 2,
    pan: number(mmfr1, 'PAN', present) >= 1,
    pan3: number(mmfr1, 'PAN', present) >= 3,
    e0pd: number(mmfr2, 'E0PD', present) >= 1,
    vhe: number(mmfr1, 'VH', present) >= 1,
    xs: number(fieldsOf(registers, 'ID_AA64ISAR1_EL1'), 'XS', missing) >= 1,
    cnp: number(mmfr2, 'CnP', present) >= 1,
    bti: number(fieldsOf(registers, 'ID_AA64PFR1_EL1'), 'BT', present) >= 1,
    bbm: Math.min(2, number(mmfr2, 'BBM', missing)),
    idc: number(ctr, 'IDC', missing) === 1,
    dic: number(ctr, 'DIC', missing) === 1,
    vmidBits: number(mmfr1, 'VMIDBits', 2) === 2 ? 16 : 8,
    mte: number(fieldsOf(registers, 'ID_AA64PFR1_EL1'), 'MTE', missing) >= 2,
    pauth: pauth(registers),
    nv: number(mmfr2, 'NV', missing) >= 1,
    ras: ((registers['ID_AA64PFR0_EL1'] ?? 0n) >> 28n & 0xfn) >= 1n,
  };
}
