/** One attribute of a line: `set` where the masked bits have the value, else `clear`; each is preceded by a space, an absent `clear` prints nothing. */
export interface PtdumpBits {
  readonly maskLo: number;
  readonly maskHi: number;
  readonly lo: number;
  readonly hi: number;
  readonly set: string;
  readonly clear?: string;
}

const low = (mask: number, value: number, set: string, clear?: string): PtdumpBits => ({
  maskLo: mask,
  maskHi: 0,
  lo: value,
  hi: 0,
  set,
  ...(clear !== undefined && { clear }),
});
const high = (mask: number, value: number, set: string, clear?: string): PtdumpBits => ({
  maskLo: 0,
  maskHi: mask,
  lo: 0,
  hi: value,
  set,
  ...(clear !== undefined && { clear }),
});
/** With PTE_VALID in the mask, as the first version of the stage-2 dump has it. */
const valid = ({ maskLo, lo, ...rest }: PtdumpBits): PtdumpBits => ({ ...rest, maskLo: maskLo | VALID, lo: lo | VALID });

/** Descriptor bits: DDI 0487 D8.3.1; bits of the high half are numbered from 32. */
const VALID = 1;
const TYPE = 3;
const BLOCK = 1;
const AF = 1 << 10;
const CONTIGUOUS = 1 << (52 - 32);
const S2AP_READ = 1 << 6;
const S2AP_WRITE = 1 << 7;
const XN = 3 << (53 - 32);
const XN_BIT_54 = 1 << (54 - 32);
const ATTR_INDX = 7 << 2;
const SHARED = 3 << 8;

/** Linux 7.2 arch/arm64/kvm/ptdump.c, stage2_pte_bits. */
const STAGE2: readonly PtdumpBits[] = [
  low(VALID, VALID, ' ', 'F'),
  low(S2AP_READ, S2AP_READ, 'R', ' '),
  low(S2AP_WRITE, S2AP_WRITE, 'W', ' '),
  high(XN, 0, 'px ux '),
  high(XN, 1 << (53 - 32), 'PXNux '),
  high(XN, 2 << (53 - 32), 'PXNUXN'),
  high(XN, 3 << (53 - 32), 'px UXN'),
  low(AF, AF, 'AF', '  '),
  low(TYPE, BLOCK, 'BLK', '   '),
];

/** The first version of the same file (6.11 on): `X` is printed for what is *not* executable. */
const STAGE2_INVERTED_X: readonly PtdumpBits[] = [
  low(VALID, VALID, ' ', 'F'),
  valid(low(S2AP_READ, S2AP_READ, 'R', ' ')),
  valid(low(S2AP_WRITE, S2AP_WRITE, 'W', ' ')),
  valid(high(XN_BIT_54, 0, ' ', 'X')),
  valid(low(AF, AF, 'AF', '  ')),
  valid(low(2, 0, 'BLK', '   ')),
];

/** Between the two (Sept 2025): one bit of execute permission, as the kernel's own dump prints it. */
const STAGE2_NX: readonly PtdumpBits[] = [
  low(VALID, VALID, ' ', 'F'),
  low(S2AP_READ, S2AP_READ, 'R', ' '),
  low(S2AP_WRITE, S2AP_WRITE, 'W', ' '),
  high(XN_BIT_54, XN_BIT_54, 'NX', 'x '),
  low(AF, AF, 'AF', '  '),
  low(TYPE, BLOCK, 'BLK', '   '),
];

/** Linux 7.2 arch/arm64/mm/ptdump.c, pte_bits; the memory types are the AttrIndx that Linux gives them (asm/memory.h, MT_*). */
const KERNEL: readonly PtdumpBits[] = [
  low(VALID, VALID, ' ', 'F'),
  low(1 << 6, 1 << 6, 'USR', '   '),
  low(1 << 7, 1 << 7, 'ro', 'RW'),
  high(1 << (53 - 32), 1 << (53 - 32), 'NX', 'x '),
  low(SHARED, SHARED, 'SHD', '   '),
  low(AF, AF, 'AF', '  '),
  low(1 << 11, 1 << 11, 'NG', '  '),
  high(CONTIGUOUS, CONTIGUOUS, 'CON', '   '),
  low(TYPE, BLOCK, 'BLK', '   '),
  high(1 << (54 - 32), 1 << (54 - 32), 'UXN', '   '),
  high(1 << (50 - 32), 1 << (50 - 32), 'GP', '  '),
  low(ATTR_INDX, 3 << 2, 'DEVICE/nGnRnE'),
  low(ATTR_INDX, 4 << 2, 'DEVICE/nGnRE'),
  low(ATTR_INDX, 2 << 2, 'MEM/NORMAL-NC'),
  low(ATTR_INDX, 0, 'MEM/NORMAL'),
  low(ATTR_INDX, 1 << 2, 'MEM/NORMAL-TAGGED'),
];

/** Which attributes a dump prints; of the stage-2 dump there are three versions, `stage2` is the latest. */
export const PTDUMP_FORMS = {
  kernel: KERNEL,
  stage2: STAGE2,
  'stage2-nx': STAGE2_NX,
  'stage2-inverted-x': STAGE2_INVERTED_X,
} as const;
export type PtdumpForm = keyof typeof PTDUMP_FORMS;

/** The attributes of an entry, each with its space in front. */
export function attributesText(bits: readonly PtdumpBits[], lo: number, hi: number): string {
  return bits
    .map((each) => ((lo & each.maskLo) === (each.lo | 0) && (hi & each.maskHi) === (each.hi | 0) ? each.set : each.clear))
    .map((text) => (text === undefined ? '' : ` ${text}`))
    .join('');
}
