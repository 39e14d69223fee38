import { describe, expect, it } from 'vitest';
import { registers } from '../src/index.js';

/** DDI 0487 D24.2, written out: msb, lsb. */
const POSITIONS: Readonly<Record<string, Readonly<Record<string, readonly [number, number]>>>> = {
  VTCR_EL2: {
    T0SZ: [5, 0],
    SL0: [7, 6],
    IRGN0: [9, 8],
    ORGN0: [11, 10],
    SH0: [13, 12],
    TG0: [15, 14],
    PS: [18, 16],
    VS: [19, 19],
    HA: [21, 21],
    HD: [22, 22],
    NSW: [29, 29],
    NSA: [30, 30],
    RES1: [31, 31],
    DS: [32, 32],
    SL2: [33, 33],
  },
  TCR_EL1: {
    T0SZ: [5, 0],
    EPD0: [7, 7],
    TG0: [15, 14],
    T1SZ: [21, 16],
    A1: [22, 22],
    EPD1: [23, 23],
    SH1: [29, 28],
    TG1: [31, 30],
    IPS: [34, 32],
    AS: [36, 36],
    TBI0: [37, 37],
    HA: [39, 39],
    HD: [40, 40],
    HPD0: [41, 41],
    HPD1: [42, 42],
    E0PD0: [55, 55],
    DS: [59, 59],
  },
  TCR_EL2: { T0SZ: [5, 0], TG0: [15, 14], PS: [18, 16], TBI: [20, 20], HA: [21, 21], HD: [22, 22], HPD: [24, 24], DS: [32, 32] },
  VTTBR_EL2: { CnP: [0, 0], BADDR: [47, 1], VMID: [63, 48] },
  TTBR0_EL1: { CnP: [0, 0], BADDR: [47, 1], ASID: [63, 48] },
  SCTLR_EL1: { M: [0, 0], C: [2, 2], I: [12, 12], WXN: [19, 19], SPAN: [23, 23], EE: [25, 25], EPAN: [57, 57] },
  HCR_EL2: {
    VM: [0, 0],
    SWIO: [1, 1],
    PTW: [2, 2],
    FB: [9, 9],
    DC: [12, 12],
    TSW: [22, 22],
    TVM: [26, 26],
    TGE: [27, 27],
    RW: [31, 31],
    CD: [32, 32],
    E2H: [34, 34],
    NV: [42, 42],
    FWB: [46, 46],
  },
  ID_AA64MMFR0_EL1: {
    PARange: [3, 0],
    TGran16: [23, 20],
    TGran64: [27, 24],
    TGran4: [31, 28],
    TGran16_2: [35, 32],
    TGran64_2: [39, 36],
    TGran4_2: [43, 40],
  },
  ID_AA64MMFR1_EL1: { HAFDBS: [3, 0], VMIDBits: [7, 4], VH: [11, 8], HPDS: [15, 12], PAN: [23, 20], XNX: [31, 28] },
  ID_AA64MMFR2_EL1: { CnP: [3, 0], VARange: [19, 16], ST: [31, 28], FWB: [43, 40], TTL: [51, 48], BBM: [55, 52], E0PD: [63, 60] },
  CTR_EL0: { IminLine: [3, 0], DminLine: [19, 16], IDC: [28, 28], DIC: [29, 29] },
  HPFAR_EL2: { FIPA: [47, 4] },
};

describe('fields stand where the manual has them', () => {
  it.each(Object.entries(POSITIONS))('%s', (register, fields) => {
    const layout = registers.layout(register) ?? [];
    for (const [name, position] of Object.entries(fields)) {
      const field = layout.find((each) => each.name === name);
      expect([field?.msb, field?.lsb], name).toEqual(position);
    }
  });
});
