import type { RegisterRow, RegisterTable } from '@granule/contract/codec';
import { describeFaultStatus } from '../fault-status.js';
import { rowsOf } from './rows.js';

/** ESR_ELx.EC (DDI 0487, ESR_EL2.EC), those that traces of a hypervisor show. */
const EXCEPTION_CLASSES: readonly (readonly [number, string])[] = [
  [0x00, 'unknown reason'],
  [0x01, 'WFI, WFE and their kin'],
  [0x07, 'SVE, SIMD or floating point'],
  [0x11, 'SVC, AArch32'],
  [0x12, 'HVC, AArch32'],
  [0x15, 'SVC'],
  [0x16, 'HVC'],
  [0x17, 'SMC'],
  [0x18, 'MSR, MRS or system instruction'],
  [0x1a, 'ERET trapped'],
  [0x20, 'instruction abort from a lower EL'],
  [0x21, 'instruction abort from this EL'],
  [0x22, 'PC alignment'],
  [0x24, 'data abort from a lower EL'],
  [0x25, 'data abort from this EL'],
  [0x26, 'SP alignment'],
  [0x2f, 'SError'],
  [0x3c, 'BRK'],
];

const hex = (value: bigint): string => `0x${value.toString(16)}`;
const status = (value: bigint): string => describeFaultStatus(Number(value));
const SHAREABILITY = ['non-shareable', 'reserved', 'outer shareable', 'inner shareable'];

const ESR_MEANS = {
  EC: (value: bigint): string => EXCEPTION_CLASSES.find(([code]) => BigInt(code) === value)?.[1] ?? `class ${hex(value)}`,
  DFSC: status,
  IFSC: status,
  WnR: ['read', 'write'],
  ISV: ['no syndrome of the instruction', 'SAS, SSE, SRT, SF and AR hold'],
  SAS: ['byte', 'halfword', 'word', 'doubleword'],
  FnV: ['FAR holds', 'FAR does not hold'],
  CM: ['not cache maintenance', 'cache maintenance or address translation instruction'],
  S1PTW: ['not on a stage-1 walk', 'stage-2 fault on a stage-1 walk'],
};

const DATA_ABORT = 'ISV 24; SAS 23:22; SSE 21; SRT 20:16; SF 15; AR 14; VNCR 13; SET 12:11; FnV 10; EA 9; CM 8; S1PTW 7; WnR 6; DFSC 5:0';
const INSTRUCTION_ABORT = 'SET 12:11; FnV 10; EA 9; S1PTW 7; IFSC 5:0';

function esrTable(name: string): RegisterTable {
  const rows = (iss: string): readonly RegisterRow[] => rowsOf(name, `ISS2 55:32; EC 31:26; IL 25; ${iss}`, ESR_MEANS);
  const data = rows(DATA_ABORT);
  const instruction = rows(INSTRUCTION_ABORT);
  return {
    name,
    rows: rows('ISS 24:0'),
    variant: (value) => {
      const ec = Number((value >> 26n) & 0x3fn);
      if (ec === 0x24 || ec === 0x25) return data;
      return ec === 0x20 || ec === 0x21 ? instruction : undefined;
    },
  };
}

/** PAR, ESR and HPFAR (DDI 0487 D24.2). PAR_EL1 has one layout for F = 0 and one for F = 1; ESR_ELx shows the ISS of aborts by field. */
export function statusTables(mairMeaning: (byte: bigint) => string): readonly RegisterTable[] {
  const fault = rowsOf('PAR_EL1', 'RES1 11; S 9; PTW 8; FST 6:1; F 0', {
    F: ['translated', 'aborted'],
    FST: status,
    S: ['fault of stage 1', 'fault of stage 2'],
    PTW: ESR_MEANS.S1PTW,
  });
  return [
    {
      name: 'PAR_EL1',
      rows: rowsOf('PAR_EL1', 'ATTR 63:56; PA 51:12; RES1 11; NS 9; SH 8:7; F 0', {
        ATTR: mairMeaning,
        PA: (value) => hex(value << 12n),
        SH: SHAREABILITY,
        F: ['translated', 'aborted'],
      }),
      variant: (value) => ((value & 1n) === 1n ? fault : undefined),
    },
    esrTable('ESR_EL1'),
    esrTable('ESR_EL2'),
    { name: 'HPFAR_EL2', rows: rowsOf('HPFAR_EL2', 'NS 63; FIPA 47:4', { FIPA: (value) => `IPA page ${hex(value << 12n)}` }) },
  ];
}

const tgran =
  (names: readonly [number, string][]) =>
  (value: bigint): string =>
    names.find(([code]) => BigInt(code) === value)?.[1] ?? 'reserved';
const TGRAN4 = tgran([
  [0, '4K supported'],
  [1, '4K supported with 52-bit addresses (LPA2)'],
  [15, '4K not supported'],
]);
const TGRAN16 = tgran([
  [0, '16K not supported'],
  [1, '16K supported'],
  [2, '16K supported with 52-bit addresses (LPA2)'],
]);
const TGRAN64 = tgran([
  [0, '64K supported'],
  [15, '64K not supported'],
]);
const TGRAN_2 = tgran([
  [0, 'stage 2 as stage 1'],
  [1, 'not supported at stage 2'],
  [2, 'supported at stage 2'],
  [3, 'supported at stage 2 with LPA2'],
]);
const PA_RANGE = ['32 bits', '36 bits', '40 bits', '42 bits', '44 bits', '48 bits', '52 bits', '56 bits'];

/** Identification registers, as far as memory is concerned (DDI 0487 D24.2). */
export const IDENTIFICATION_TABLES: readonly RegisterTable[] = [
  {
    name: 'ID_AA64MMFR0_EL1',
    rows: rowsOf(
      'ID_AA64MMFR0_EL1',
      `
ECV 63:60; FGT 59:56; ExS 47:44; TGran4_2 43:40; TGran64_2 39:36; TGran16_2 35:32; TGran4 31:28; TGran64 27:24; TGran16 23:20
BigEndEL0 19:16
SNSMem 15:12; BigEnd 11:8; ASIDBits 7:4; PARange 3:0`,
      {
        TGran4: TGRAN4,
        TGran16: TGRAN16,
        TGran64: TGRAN64,
        TGran4_2: TGRAN_2,
        TGran16_2: TGRAN_2,
        TGran64_2: TGRAN_2,
        PARange: (value) => PA_RANGE[Number(value)] ?? 'reserved',
      },
    ),
  },
  {
    name: 'ID_AA64MMFR1_EL1',
    rows: rowsOf(
      'ID_AA64MMFR1_EL1',
      `
ECBHB 63:60; CMOW 59:56; TIDCP1 55:52; nTLBPA 51:48; AFP 47:44; HCX 43:40; ETS 39:36; TWED 35:32; XNX 31:28; SpecSEI 27:24; PAN 23:20
LO 19:16
HPDS 15:12; VH 11:8; VMIDBits 7:4; HAFDBS 3:0`,
    ),
  },
  {
    name: 'ID_AA64MMFR2_EL1',
    rows: rowsOf(
      'ID_AA64MMFR2_EL1',
      `
E0PD 63:60; EVT 59:56; BBM 55:52; TTL 51:48; FWB 43:40; IDS 39:36; AT 35:32; ST 31:28; NV 27:24; CCIDX 23:20; VARange 19:16; IESB 15:12
LSM 11:8
UAO 7:4; CnP 3:0`,
    ),
  },
  {
    name: 'ID_AA64MMFR3_EL1',
    rows: rowsOf(
      'ID_AA64MMFR3_EL1',
      `
Spec_FPACC 63:60; ADERR 59:56; SDERR 55:52; ANERR 47:44; SNERR 43:40; D128_2 39:36; D128 35:32; MEC 31:28; AIE 27:24; S2POE 23:20
S1POE 19:16
S2PIE 15:12; S1PIE 11:8; SCTLRX 7:4; TCRX 3:0`,
    ),
  },
  {
    name: 'ID_AA64ISAR0_EL1',
    rows: rowsOf(
      'ID_AA64ISAR0_EL1',
      `
RNDR 63:60; TLB 59:56; TS 55:52; FHM 51:48; DP 47:44; SM4 43:40; SM3 39:36; SHA3 35:32; RDM 31:28; TME 27:24; Atomic 23:20; CRC32 19:16
SHA2 15:12
SHA1 11:8; AES 7:4`,
    ),
  },
  {
    name: 'ID_AA64ISAR1_EL1',
    rows: rowsOf(
      'ID_AA64ISAR1_EL1',
      `
LS64 63:60; XS 59:56; I8MM 55:52; DGH 51:48; BF16 47:44; SPECRES 43:40; SB 39:36; FRINTTS 35:32; GPI 31:28; GPA 27:24; LRCPC 23:20
FCMA 19:16
JSCVT 15:12; API 11:8; APA 7:4; DPB 3:0`,
    ),
  },
  {
    name: 'ID_AA64PFR1_EL1',
    rows: rowsOf(
      'ID_AA64PFR1_EL1',
      `
PFAR 63:60; DF2 59:56; MTEX 55:52; THE 51:48; GCS 47:44; MTE_frac 43:40; NMI 39:36; CSV2_frac 35:32; RNDR_trap 31:28; SME 27:24
MPAM_frac 19:16
RAS_frac 15:12; MTE 11:8; SSBS 7:4; BT 3:0`,
    ),
  },
  {
    name: 'CTR_EL0',
    rows: rowsOf(
      'CTR_EL0',
      `
TminLine 37:32; RES1 31; DIC 29; IDC 28; CWG 27:24; ERG 23:20; DminLine 19:16; L1Ip 15:14; IminLine 3:0`,
      {
        DIC: ['instruction cache maintenance by VA to PoU is required', 'no instruction cache maintenance is required'],
        IDC: ['data cache clean to PoU is required', 'no data cache clean to PoU is required'],
        DminLine: (value) => `${4n << value} bytes`,
        IminLine: (value) => `${4n << value} bytes`,
      },
    ),
  },
  {
    name: 'CLIDR_EL1',
    rows: rowsOf(
      'CLIDR_EL1',
      `
Ttype7 46:45; Ttype6 44:43; Ttype5 42:41; Ttype4 40:39; Ttype3 38:37; Ttype2 36:35; Ttype1 34:33; ICB 32:30; LoUU 29:27; LoC 26:24
LoUIS 23:21
Ctype7 20:18; Ctype6 17:15; Ctype5 14:12; Ctype4 11:9; Ctype3 8:6; Ctype2 5:3; Ctype1 2:0`,
    ),
  },
];
