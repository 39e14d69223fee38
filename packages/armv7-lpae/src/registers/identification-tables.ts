import type { Means, RegisterTable } from '@granule/contract/codec';
import { tableOf } from './rows.js';

/** ID_MMFR3.CMemSz: the physical address size, bits. */
export const PHYSICAL_BITS = [32, 36, 40] as const;

const named =
  (meanings: Readonly<Record<string, string>>): Means =>
  (value) =>
    meanings[value.toString()] ?? 'reserved';

const lines = (value: bigint): string => `${4n << value} bytes`;

/** Identification registers, as far as memory is concerned (DDI 0406C B4.1). */
export const IDENTIFICATION_TABLES: readonly RegisterTable[] = [
  tableOf('ID_PFR1', 32, 'GenTimer 19:16; Virtualization 15:12; MProgMod 11:8; Security 7:4; ProgMod 3:0', {
    Virtualization: named({ 0: 'no Virtualization Extensions', 1: 'Virtualization Extensions' }),
  }),
  tableOf('ID_MMFR0', 32, 'InnerShr 31:28; FCSE 27:24; AuxReg 23:20; TCM 19:16; ShareLvl 15:12; OuterShr 11:8; PMSA 7:4; VMSA 3:0', {
    VMSA: named({ 3: 'VMSAv7', 4: 'VMSAv7 with PXN in short descriptors', 5: 'VMSAv7 with PXN and long descriptors (LPAE)' }),
  }),
  tableOf(
    'ID_MMFR1',
    32,
    'BPred 31:28; L1TstCln 27:24; L1Uni 23:20; L1Hvd 19:16; L1UniSW 15:12; L1HvdSW 11:8; L1UniVA 7:4; L1HvdVA 3:0',
  ),
  tableOf(
    'ID_MMFR2',
    32,
    'HWAccFlg 31:28; WFIStall 27:24; MemBarr 23:20; UniTLB 19:16; HvdTLB 15:12; L1HvdRng 11:8; L1HvdBG 7:4; L1HvdFG 3:0',
  ),
  tableOf(
    'ID_MMFR3',
    32,
    'Supersec 31:28; CMemSz 27:24; CohWalk 23:20; PAN 19:16; MaintBcst 15:12; BPMaint 11:8; CMaintSW 7:4; CMaintVA 3:0',
    {
      CMemSz: PHYSICAL_BITS.map((bits) => `${bits}-bit physical addresses`),
      CohWalk: named({
        0: 'a table write needs a clean to PoU before walks see it',
        1: 'walks see table writes without a clean',
      }),
    },
  ),
  tableOf('ID_MMFR4', 32, 'EVT 31:28; CCIDX 27:24; LSM 23:20; HPDS 19:16; CnP 15:12; XNX 11:8; AC2 7:4; SpecSEI 3:0'),
  tableOf('CTR', 32, 'Format 31:29; CWG 27:24; ERG 23:20; DminLine 19:16; L1Ip 15:14; IminLine 3:0', {
    L1Ip: named({ 1: 'ASID-tagged VIVT', 2: 'VIPT', 3: 'PIPT' }),
    DminLine: lines,
    IminLine: lines,
  }),
  tableOf(
    'CLIDR',
    32,
    'LoUU 29:27; LoC 26:24; LoUIS 23:21; Ctype7 20:18; Ctype6 17:15; Ctype5 14:12; Ctype4 11:9; Ctype3 8:6; Ctype2 5:3; Ctype1 2:0',
  ),
];
