import { plainMairMemory, type MeansByField, type RegisterTable } from '@granule/contract/codec';
import { rowsOf, tableOf } from './rows.js';

/** Control and base registers (DDI 0406C B4.1): fields as `NAME msb[:lsb]`. */

const OFF_ON = ['off', 'on'];
const SH = ['non-shareable', 'reserved', 'outer shareable', 'inner shareable'];
const RGN = [
  'walks Non-cacheable',
  'walks Write-Back, allocate on read and write',
  'walks Write-Through',
  'walks Write-Back, no write-allocate',
];
const hex = (value: bigint): string => `0x${value.toString(16)}`;
const inputBits = (value: bigint): string => `${32n - value}-bit input`;
const WALKS = { SH0: SH, SH1: SH, IRGN0: RGN, ORGN0: RGN, IRGN1: RGN, ORGN1: RGN };

const TTBCR_LONG = `
  EAE 31; IMP 30; SH1 29:28; ORGN1 27:26; IRGN1 25:24; EPD1 23; A1 22; T1SZ 18:16; SH0 13:12; ORGN0 11:10; IRGN0 9:8; EPD0 7; T0SZ 2:0`;
const TTBCR_SHORT = 'EAE 31; PD1 5; PD0 4; N 2:0';

/** Size 0 of one range: all that the other range leaves. */
const rangeBits = (value: bigint): string => (value === 0n ? 'size 0: 32-bit input, where the other range is not' : inputBits(value));

const TTBCR_MEANS: MeansByField = {
  ...WALKS,
  EAE: ['short descriptors', 'long descriptors (LPAE)'],
  EPD0: ['TTBR0 walks on', 'TTBR0 walks off: translation fault'],
  EPD1: ['TTBR1 walks on', 'TTBR1 walks off: translation fault'],
  A1: ['ASID of TTBR0', 'ASID of TTBR1'],
  T0SZ: rangeBits,
  T1SZ: rangeBits,
};

const VTCR_MEANS: MeansByField = {
  ...WALKS,
  SL0: ['start level 2', 'start level 1', 'reserved', 'reserved'],
  S: ['T0SZ is not negative', 'T0SZ is negative'],
  T0SZ: (value) => `${32n - BigInt.asIntN(4, value)}-bit input: T0SZ is ${BigInt.asIntN(4, value)}`,
};

const SCTLR = `
  TE 30; AFE 29; TRE 28; NMFI 27; EE 25; VE 24; RES1 23; RES1 22; FI 21; UWXN 20; WXN 19; RES1 18; RES1 16; RR 14; V 13; I 12; Z 11; SW 10
  RES1 6; CP15BEN 5; RES1 4:3; C 2; A 1; M 0`;
const HSCTLR = `
  TE 30; RES1 29:28; EE 25; RES1 23:22; FI 21; WXN 19; RES1 18; RES1 16; I 12; RES1 11; RES1 6; CP15BEN 5; RES1 4:3; C 2; A 1; M 0`;

const SCTLR_MEANS: MeansByField = {
  M: ['translation off', 'translation on'],
  C: ['data accesses Non-cacheable', 'data caches on'],
  I: ['instruction accesses Non-cacheable', 'instruction caches on'],
  WXN: ['writable may be executable', 'writable is never executable'],
  UWXN: ['writable at PL0 may be executable at PL1', 'writable at PL0 is never executable at PL1'],
  EE: ['little-endian walks', 'big-endian walks'],
};

const HCR = `
  TGE 27; TVM 26; TTLB 25; TPU 24; TPC 23; TSW 22; TAC 21; TIDCP 20; TSC 19; TID3 18; TID2 17; TID1 16; TID0 15; TWE 14; TWI 13; DC 12
  BSU 11:10; FB 9; VA 8; VI 7; VF 6; AMO 5; IMO 4; FMO 3; PTW 2; SWIO 1; VM 0`;

const HCR_MEANS: MeansByField = {
  VM: ['stage 2 off', 'stage 2 on'],
  PTW: OFF_ON,
  DC: OFF_ON,
  TGE: OFF_ON,
  TVM: ['not trapped', 'PL1 writes of virtual memory registers trap'],
  TSW: ['not trapped', 'set/way maintenance traps'],
  SWIO: ['invalidate by set/way as it is', 'invalidate by set/way also cleans'],
};

/** The least alignment of an entry table is 16 bytes: two entries, T0SZ = 1. */
const BADDR = 'BADDR 39:4';
const BADDR_MEANS: MeansByField = { BADDR: (value) => `table at ${hex(value << 4n)}` };

const MAIR0 = 'Attr3 31:24; Attr2 23:16; Attr1 15:8; Attr0 7:0';
const MAIR1 = 'Attr7 31:24; Attr6 23:16; Attr5 15:8; Attr4 7:0';
const MAIR_MEANS: MeansByField = Object.fromEntries(
  Array.from({ length: 8 }, (_, index) => [`Attr${index}`, (byte: bigint): string => plainMairMemory(Number(byte))]),
);

const shortTtbcr = rowsOf('TTBCR', TTBCR_SHORT, TTBCR_MEANS);
const ttbcr: RegisterTable = {
  ...tableOf('TTBCR', 32, TTBCR_LONG, TTBCR_MEANS),
  variant: (value) => (value >> 31n === 0n ? shortTtbcr : undefined),
};

export const CONTROL_TABLES: readonly RegisterTable[] = [
  ttbcr,
  tableOf('TTBR0', 64, `ASID 55:48; ${BADDR}`, BADDR_MEANS),
  tableOf('TTBR1', 64, `ASID 55:48; ${BADDR}`, BADDR_MEANS),
  tableOf('MAIR0', 32, MAIR0, MAIR_MEANS),
  tableOf('MAIR1', 32, MAIR1, MAIR_MEANS),
  tableOf('SCTLR', 32, SCTLR, SCTLR_MEANS),
  tableOf('HTCR', 32, 'RES1 31; IMP 30; RES1 23; SH0 13:12; ORGN0 11:10; IRGN0 9:8; T0SZ 2:0', { ...WALKS, T0SZ: inputBits }),
  tableOf('HTTBR', 64, BADDR, BADDR_MEANS),
  tableOf('HMAIR0', 32, MAIR0, MAIR_MEANS),
  tableOf('HMAIR1', 32, MAIR1, MAIR_MEANS),
  tableOf('HSCTLR', 32, HSCTLR, SCTLR_MEANS),
  tableOf('HCR', 32, HCR, HCR_MEANS),
  tableOf('VTCR', 32, 'RES1 31; SH0 13:12; ORGN0 11:10; IRGN0 9:8; SL0 7:6; S 4; T0SZ 3:0', VTCR_MEANS),
  tableOf('VTTBR', 64, `VMID 55:48; ${BADDR}`, BADDR_MEANS),
];
