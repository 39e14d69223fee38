import type { OperandField } from '@granule/contract/codec';

const CLAUSE = 'DDI 0406C B4.2';

/** How MCR names an operation: `MCR p15, opc1, Rt, c<crn>, c<crm>, opc2`. */
export interface Cp15Encoding {
  readonly crn: 7 | 8;
  readonly opc1: 0 | 4;
  readonly crm: number;
  readonly opc2: number;
  /** Of ARMv8's AArch32; an ARMv7 PE has no such operation. */
  readonly armv8: boolean;
}

export interface Operation {
  readonly encoding: Cp15Encoding;
  readonly operand: readonly OperandField[];
}

function address(name: string, msb: number, lsb: number, addressLsb: number): OperandField {
  return { name, msb, lsb, addressLsb, clause: CLAUSE };
}
const MVA = address('MVA', 31, 12, 12);
const ASID: OperandField = { name: 'ASID', msb: 7, lsb: 0, clause: CLAUSE };

/** What each kind of operation takes in its 32-bit register. */
const OPERANDS = {
  nothing: [],
  mva: [MVA],
  'mva-asid': [MVA, ASID],
  asid: [ASID],
  /** IPA[39:12]. */
  ipa: [{ ...address('IPA', 27, 0, 12), clause: 'DDI 0487 G8.2' }],
  /** Any byte of a line, or of a page to translate. */
  va: [address('VA', 31, 0, 0)],
  'set-way': [
    { name: 'SetWay', msb: 31, lsb: 4, clause: CLAUSE },
    { name: 'Level', msb: 3, lsb: 1, clause: CLAUSE },
  ],
} as const satisfies Readonly<Record<string, readonly OperandField[]>>;

type OperandKind = keyof typeof OPERANDS;
type Row = readonly [name: string, crn: 7 | 8, opc1: 0 | 4, crm: number, opc2: number, takes: OperandKind, armv8?: 'armv8'];

/** DDI 0406C B3.17, CP15 c7 and c8 register summaries; DDI 0487 G7.3 for what ARMv8 adds. */
const ROWS: readonly Row[] = [
  ['TLBIALLIS', 8, 0, 3, 0, 'nothing'],
  ['TLBIMVAIS', 8, 0, 3, 1, 'mva-asid'],
  ['TLBIASIDIS', 8, 0, 3, 2, 'asid'],
  ['TLBIMVAAIS', 8, 0, 3, 3, 'mva'],
  ['TLBIMVALIS', 8, 0, 3, 5, 'mva-asid', 'armv8'],
  ['TLBIMVAALIS', 8, 0, 3, 7, 'mva', 'armv8'],
  ['ITLBIALL', 8, 0, 5, 0, 'nothing'],
  ['ITLBIMVA', 8, 0, 5, 1, 'mva-asid'],
  ['ITLBIASID', 8, 0, 5, 2, 'asid'],
  ['DTLBIALL', 8, 0, 6, 0, 'nothing'],
  ['DTLBIMVA', 8, 0, 6, 1, 'mva-asid'],
  ['DTLBIASID', 8, 0, 6, 2, 'asid'],
  ['TLBIALL', 8, 0, 7, 0, 'nothing'],
  ['TLBIMVA', 8, 0, 7, 1, 'mva-asid'],
  ['TLBIASID', 8, 0, 7, 2, 'asid'],
  ['TLBIMVAA', 8, 0, 7, 3, 'mva'],
  ['TLBIMVAL', 8, 0, 7, 5, 'mva-asid', 'armv8'],
  ['TLBIMVAAL', 8, 0, 7, 7, 'mva', 'armv8'],
  ['TLBIIPAS2IS', 8, 4, 0, 1, 'ipa', 'armv8'],
  ['TLBIIPAS2LIS', 8, 4, 0, 5, 'ipa', 'armv8'],
  ['TLBIALLHIS', 8, 4, 3, 0, 'nothing'],
  ['TLBIMVAHIS', 8, 4, 3, 1, 'mva'],
  ['TLBIALLNSNHIS', 8, 4, 3, 4, 'nothing'],
  ['TLBIMVALHIS', 8, 4, 3, 5, 'mva', 'armv8'],
  ['TLBIIPAS2', 8, 4, 4, 1, 'ipa', 'armv8'],
  ['TLBIIPAS2L', 8, 4, 4, 5, 'ipa', 'armv8'],
  ['TLBIALLH', 8, 4, 7, 0, 'nothing'],
  ['TLBIMVAH', 8, 4, 7, 1, 'mva'],
  ['TLBIALLNSNH', 8, 4, 7, 4, 'nothing'],
  ['TLBIMVALH', 8, 4, 7, 5, 'mva', 'armv8'],
  ['ICIALLUIS', 7, 0, 1, 0, 'nothing'],
  ['BPIALLIS', 7, 0, 1, 6, 'nothing'],
  ['ICIALLU', 7, 0, 5, 0, 'nothing'],
  ['ICIMVAU', 7, 0, 5, 1, 'va'],
  ['BPIALL', 7, 0, 5, 6, 'nothing'],
  ['BPIMVA', 7, 0, 5, 7, 'va'],
  ['DCIMVAC', 7, 0, 6, 1, 'va'],
  ['DCISW', 7, 0, 6, 2, 'set-way'],
  ['ATS1CPR', 7, 0, 8, 0, 'va'],
  ['ATS1CPW', 7, 0, 8, 1, 'va'],
  ['ATS1CUR', 7, 0, 8, 2, 'va'],
  ['ATS1CUW', 7, 0, 8, 3, 'va'],
  ['ATS12NSOPR', 7, 0, 8, 4, 'va'],
  ['ATS12NSOPW', 7, 0, 8, 5, 'va'],
  ['ATS12NSOUR', 7, 0, 8, 6, 'va'],
  ['ATS12NSOUW', 7, 0, 8, 7, 'va'],
  ['DCCMVAC', 7, 0, 10, 1, 'va'],
  ['DCCSW', 7, 0, 10, 2, 'set-way'],
  ['DCCMVAU', 7, 0, 11, 1, 'va'],
  ['DCCIMVAC', 7, 0, 14, 1, 'va'],
  ['DCCISW', 7, 0, 14, 2, 'set-way'],
  ['ATS1HR', 7, 4, 8, 0, 'va'],
  ['ATS1HW', 7, 4, 8, 1, 'va'],
];

/** Maintenance and address-translation operations by their Arm names. */
export const OPERATIONS: ReadonlyMap<string, Operation> = new Map(
  ROWS.map(([name, crn, opc1, crm, opc2, takes, armv8]) => [
    name,
    { encoding: { crn, opc1, crm, opc2, armv8: armv8 !== undefined }, operand: OPERANDS[takes] },
  ]),
);
