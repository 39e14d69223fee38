import { plainMairMemory, type MeansByField, type RegisterRow, type RegisterTable } from '@granule/contract/codec';
import { describeFaultStatus } from '../fault-status.js';
import { rowsOf, tableOf } from './rows.js';

/** HSR.EC (DDI 0406C B3.13, Use of the HSR), those that concern memory and its registers. */
const EXCEPTION_CLASSES: readonly (readonly [number, string])[] = [
  [0x00, 'unknown reason'],
  [0x01, 'WFI or WFE'],
  [0x03, 'MCR or MRC of CP15'],
  [0x04, 'MCRR or MRRC of CP15'],
  [0x05, 'MCR or MRC of CP14'],
  [0x06, 'LDC or STC of CP14'],
  [0x07, 'coprocessor access, by HCPTR'],
  [0x11, 'SVC'],
  [0x12, 'HVC'],
  [0x13, 'SMC'],
  [0x20, 'prefetch abort routed to Hyp mode'],
  [0x21, 'prefetch abort in Hyp mode'],
  [0x24, 'data abort routed to Hyp mode'],
  [0x25, 'data abort in Hyp mode'],
];

const hex = (value: bigint): string => `0x${value.toString(16)}`;
const status = (value: bigint): string => describeFaultStatus(Number(value));
const SHAREABILITY = ['non-shareable', 'reserved', 'outer shareable', 'inner shareable'];

const MEANS: MeansByField = {
  EC: (value) => EXCEPTION_CLASSES.find(([code]) => BigInt(code) === value)?.[1] ?? `class ${hex(value)}`,
  DFSC: status,
  IFSC: status,
  FST: status,
  STATUS: status,
  WnR: ['read', 'write'],
  CM: ['not cache maintenance', 'cache maintenance or address translation operation'],
  ISV: ['no syndrome of the instruction', 'SAS, SSE and SRT hold'],
  SAS: ['byte', 'halfword', 'word', 'reserved'],
  S1PTW: ['not on a stage-1 walk', 'stage-2 fault on a stage-1 walk'],
  LPAE: ['short-descriptor encoding', 'long-descriptor encoding'],
};

/** DFSR and IFSR: one layout for each descriptor format. */
function faultStatusTable(name: string, long: string, short: string): RegisterTable {
  const shortRows = rowsOf(name, short, MEANS);
  return { ...tableOf(name, 32, long, MEANS), variant: (value) => ((value >> 9n) % 2n === 0n ? shortRows : undefined) };
}

function hsrTable(): RegisterTable {
  const rows = (iss: string): readonly RegisterRow[] => rowsOf('HSR', `EC 31:26; IL 25; ${iss}`, MEANS);
  const data = rows('ISV 24; SAS 23:22; SSE 21; SRT 19:16; EA 9; CM 8; S1PTW 7; WnR 6; DFSC 5:0');
  const prefetch = rows('EA 9; S1PTW 7; IFSC 5:0');
  return {
    ...tableOf('HSR', 32, 'EC 31:26; IL 25; ISS 24:0', MEANS),
    variant: (value) => {
      const ec = Number(value >> 26n);
      if (ec === 0x24 || ec === 0x25) return data;
      return ec === 0x20 || ec === 0x21 ? prefetch : undefined;
    },
  };
}

/** The 64-bit PAR, with one layout for F = 0 and one for F = 1. */
function parTable(): RegisterTable {
  const fault = rowsOf('PAR', 'LPAE 11; FSTAGE 9; S2WLK 8; FST 6:1; F 0', {
    ...MEANS,
    F: ['translated', 'aborted'],
    FSTAGE: ['fault of stage 1', 'fault of stage 2'],
    S2WLK: MEANS['S1PTW'],
  });
  const translated = tableOf('PAR', 64, 'ATTR 63:56; PA 39:12; LPAE 11; IMP 10; NS 9; SH 8:7; F 0', {
    ...MEANS,
    ATTR: (byte) => plainMairMemory(Number(byte)),
    PA: (value) => hex(value << 12n),
    SH: SHAREABILITY,
    F: ['translated', 'aborted'],
  });
  return { ...translated, variant: (value) => (value % 2n === 1n ? fault : undefined) };
}

const ADDRESS: MeansByField = { VA: hex };

/** Fault status and address registers (DDI 0406C B4.1), as the long-descriptor format has them. */
export const STATUS_TABLES: readonly RegisterTable[] = [
  parTable(),
  faultStatusTable('DFSR', 'CM 13; ExT 12; WnR 11; LPAE 9; STATUS 5:0', 'CM 13; ExT 12; WnR 11; FS[4] 10; LPAE 9; Domain 7:4; FS[3:0] 3:0'),
  faultStatusTable('IFSR', 'ExT 12; LPAE 9; STATUS 5:0', 'ExT 12; FS[4] 10; LPAE 9; FS[3:0] 3:0'),
  tableOf('DFAR', 32, 'VA 31:0', ADDRESS),
  tableOf('IFAR', 32, 'VA 31:0', ADDRESS),
  hsrTable(),
  tableOf('HDFAR', 32, 'VA 31:0', ADDRESS),
  tableOf('HIFAR', 32, 'VA 31:0', ADDRESS),
  tableOf('HPFAR', 32, 'FIPA 31:4', { FIPA: (value) => `IPA page ${hex(value << 12n)}` }),
];
