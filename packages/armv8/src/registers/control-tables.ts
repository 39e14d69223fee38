import type { MeansByField, RegisterRow, RegisterTable } from '@granule/contract/codec';
import { PA_RANGES } from '@granule/geometry';
import { rowsOf } from './rows.js';

/**
 * Control and base registers (DDI 0487 D24.2): fields as `NAME msb[:lsb]`.
 */

const OFF_ON = ['off', 'on'];
const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** PS and IPS (DDI 0487, TCR_EL1.IPS): a table, not a formula. */
const PS = PA_RANGES.map((bits) => `${bits}-bit output`);
/** TG0 (TCR_ELx, VTCR_EL2) and TG1 differ (DDI 0487, TCR_EL1.TG0, TCR_EL1.TG1). */
export const TG0_GRANULES = ['4K', '64K', '16K'] as const;
export const TG1_GRANULES = [undefined, '16K', '4K', '64K'] as const;
const TG0 = TG0_GRANULES.map((granule) => `${granule} granule`);
const TG1 = TG1_GRANULES.map((granule) => (granule === undefined ? 'reserved' : `${granule} granule`));
const SH = ['non-shareable', 'reserved', 'outer shareable', 'inner shareable'];
const RGN = [
  'walks Non-cacheable',
  'walks Write-Back, allocate on read and write',
  'walks Write-Through',
  'walks Write-Back, no write-allocate',
];
const inputBits = (value: bigint): string => `${64n - value}-bit input`;
const DS = ['48-bit descriptors (64K: as PS says)', '52-bit descriptors (LPA2)'];
const FLAGS_OF_TABLES = { HA: OFF_ON, HD: OFF_ON };
const baseAddress = (value: bigint): string =>
  `table at ${hex((value << 1n) & ~0x3fn)}, where addresses have 48 bits at most; with 52 bits [5:2] are its bits 51:48`;

const TWO_RANGES_MEANS: MeansByField = {
  ...FLAGS_OF_TABLES,
  DS,
  IPS: PS,
  TG0,
  TG1,
  SH0: SH,
  SH1: SH,
  IRGN0: RGN,
  ORGN0: RGN,
  IRGN1: RGN,
  ORGN1: RGN,
  T0SZ: inputBits,
  T1SZ: inputBits,
  EPD0: ['TTBR0 walks on', 'TTBR0 walks off: translation fault'],
  EPD1: ['TTBR1 walks on', 'TTBR1 walks off: translation fault'],
  A1: ['ASID of TTBR0', 'ASID of TTBR1'],
  AS: ['8-bit ASID', '16-bit ASID'],
  HPD0: ['hierarchical permissions on', 'hierarchical permissions off'],
  HPD1: ['hierarchical permissions on', 'hierarchical permissions off'],
};

const TWO_RANGES = `
  MTX1 61; MTX0 60; DS 59; TCMA1 58; TCMA0 57; E0PD1 56; E0PD0 55; NFD1 54; NFD0 53; TBID1 52; TBID0 51; HWU162 50; HWU161 49; HWU160 48
  HWU159 47; HWU062 46; HWU061 45; HWU060 44; HWU059 43; HPD1 42; HPD0 41; HD 40; HA 39; TBI1 38; TBI0 37; AS 36; IPS 34:32; TG1 31:30
  SH1 29:28; ORGN1 27:26; IRGN1 25:24; EPD1 23; A1 22; T1SZ 21:16; TG0 15:14; SH0 13:12; ORGN0 11:10; IRGN0 9:8; EPD0 7; T0SZ 5:0`;

const TCR_EL2 = `
  MTX 33; DS 32; RES1 31; TCMA 30; TBID 29; HWU62 28; HWU61 27; HWU60 26; HWU59 25; HPD 24; RES1 23; HD 22; HA 21; TBI 20; PS 18:16
  TG0 15:14; SH0 13:12; ORGN0 11:10; IRGN0 9:8; T0SZ 5:0`;

const VTCR = `
  HDBSS 45; HAFT 44; TL0 41; GCSH 40; D128 38; S2POE 37; S2PIE 36; TL1 35; AssuredOnly 34; SL2 33; DS 32; RES1 31; NSA 30; NSW 29
  HWU62 28; HWU61 27; HWU60 26; HWU59 25; HD 22; HA 21; VS 19; PS 18:16; TG0 15:14; SH0 13:12; ORGN0 11:10; IRGN0 9:8; SL0 7:6; T0SZ 5:0`;

/** Both ELs but for BT1 (EL1) or BT (EL2) and UMA. */
const SCTLR = `
  TIDCP 63; SPINTMASK 62; NMI 61; EnTP2 60; TCSO 59; TCSO0 58; EPAN 57; EnALS 56; EnAS0 55; EnASR 54; TME 53; TME0 52; TMT 51; TMT0 50
  TWEDEL 49:46; TWEDEn 45; DSSBS 44; ATA 43; ATA0 42; TCF 41:40; TCF0 39:38; ITFSB 37; BT0 35; EnFPM 34; MSCEn 33; CMOW 32; EnIA 31
  EnIB 30; LSMAOE 29; nTLSMD 28; EnDA 27; UCI 26; EE 25; E0E 24; SPAN 23; EIS 22; IESB 21; TSCXT 20; WXN 19; nTWE 18; nTWI 16; UCT 15
  DZE 14; EnDB 13; I 12; EOS 11; EnRCTX 10; SED 8; ITD 7; nAA 6; CP15BEN 5; SA0 4; SA 3; C 2; A 1; M 0`;

const HCR = `
  TWEDEL 63:60; TWEDEn 59; TID5 58; DCT 57; ATA 56; TTLBOS 55; TTLBIS 54; EnSCXT 53; TOCU 52; AMVOFFEN 51; TICAB 50; TID4 49; GPF 48
  FIEN 47; FWB 46; NV2 45; AT 44; NV1 43; NV 42; API 41; APK 40; TME 39; MIOCNCE 38; TEA 37; TERR 36; TLOR 35; E2H 34; ID 33; CD 32
  RW 31; TRVM 30; HCD 29; TDZ 28; TGE 27; TVM 26; TTLB 25; TPU 24; TPCP 23; TSW 22; TACR 21; TIDCP 20; TSC 19; TID3 18; TID2 17; TID1 16
  TID0 15; TWE 14; TWI 13; DC 12; BSU 11:10; FB 9; VSE 8; VI 7; VF 6; AMO 5; IMO 4; FMO 3; PTW 2; SWIO 1; VM 0`;

const TTBR = 'ASID 63:48; BADDR 47:1; CnP 0';
const MAIR = 'Attr7 63:56; Attr6 55:48; Attr5 47:40; Attr4 39:32; Attr3 31:24; Attr2 23:16; Attr1 15:8; Attr0 7:0';

const TTBR_MEANS: MeansByField = { BADDR: baseAddress, CnP: ['not shared', 'common with the other PEs'] };

const ONE_RANGE_MEANS: MeansByField = {
  ...FLAGS_OF_TABLES,
  DS,
  PS,
  TG0,
  SH0: SH,
  IRGN0: RGN,
  ORGN0: RGN,
  T0SZ: inputBits,
  HPD: ['hierarchical permissions on', 'hierarchical permissions off'],
  VS: ['8-bit VMID', '16-bit VMID'],
};

const SCTLR_MEANS: MeansByField = {
  M: ['translation off', 'translation on'],
  C: ['data accesses Non-cacheable', 'data caches on'],
  I: ['instruction accesses Non-cacheable', 'instruction caches on'],
  WXN: ['writable may be executable', 'writable is never executable'],
  EE: ['little-endian walks', 'big-endian walks'],
};

const HCR_MEANS: MeansByField = {
  VM: ['stage 2 off', 'stage 2 on'],
  E2H: ['EL2 regime', 'EL2&0 regime'],
  TVM: ['not trapped', 'EL1 writes of virtual memory registers trap'],
  FWB: ['stage-2 types combine', 'stage 2 may force Write-Back'],
  TGE: OFF_ON,
  DC: OFF_ON,
  PTW: OFF_ON,
};

const table = (name: string, fields: string, means: MeansByField): RegisterTable => ({
  name,
  rows: rowsOf(name, fields, means),
});

/** `TCR_EL2` is the layout with HCR_EL2.E2H = 0, `TCR_EL2_E2H` the one with E2H = 1. */
export function controlTables(mairMeaning: (byte: bigint) => string): readonly RegisterTable[] {
  const attributes = Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`Attr${index}`, mairMeaning]));
  const e2h: readonly RegisterRow[] = rowsOf('TCR_EL2', TWO_RANGES, TWO_RANGES_MEANS);
  return [
    table('TCR_EL1', TWO_RANGES, TWO_RANGES_MEANS),
    { name: 'TCR_EL2_E2H', rows: e2h },
    table('TCR_EL2', TCR_EL2, ONE_RANGE_MEANS),
    table('VTCR_EL2', VTCR, ONE_RANGE_MEANS),
    table('VTTBR_EL2', 'VMID 63:48; BADDR 47:1; CnP 0', TTBR_MEANS),
    table('TTBR0_EL1', TTBR, TTBR_MEANS),
    table('TTBR1_EL1', TTBR, TTBR_MEANS),
    table('TTBR0_EL2', TTBR, TTBR_MEANS),
    table('TTBR1_EL2', TTBR, TTBR_MEANS),
    table('MAIR_EL1', MAIR, attributes),
    table('MAIR_EL2', MAIR, attributes),
    table('SCTLR_EL1', `BT1 36; UMA 9; ${SCTLR}`, SCTLR_MEANS),
    table('SCTLR_EL2', `BT 36; ${SCTLR}`, SCTLR_MEANS),
    table('HCR_EL2', HCR, HCR_MEANS),
  ];
}
