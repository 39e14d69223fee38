import { type Backend, type Outcome, done, refused } from '@granule/contract';
import { tableGeometry } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import { createTableArena } from '@granule/memory';
import { createPageTable } from '@granule/pgtable';
import { SCENARIO_SCHEMA } from '../scenario.js';
import type { StepOf } from '../steps.js';
import { archNames, encoded } from './arch.js';
import { type Store, storesOf } from './stores.js';

/** Normal Write-Back, Normal Non-cacheable, Device-nGnRE, … by index, as Linux has them. */
const MAIR = 0xff44_0c04_00ffn;
const OA_BITS = 40;
const MAX_PAGES = 4096;

export interface GuestTables {
  readonly stores: readonly Store[];
  /** In the order in which the guest writes them. */
  readonly registers: readonly (readonly [name: string, value: bigint])[];
}

/** A guest's stage 1 of 4K pages: 39 bits of VA from level 1, or 32 bits with AArch32. Refused: what the page-table core and the backend refuse. */
export function guestTables(backend: Backend, { table, map, asid = 1 }: StepOf<'stage1'>): Outcome<GuestTables> {
  if (table % 4096 !== 0) {
    return refused('scenario.step', `table ${hex(table)} is not a multiple of 4096.`, SCENARIO_SCHEMA);
  }
  const names = archNames(backend);
  const aarch32 = names.guest === 'pl10';
  const iaBits = aarch32 ? 32 : 39;
  const geometry = tableGeometry({ stage: 1, granule: '4K', iaBits, oaBits: OA_BITS, startLevel: 1, ds: false });
  const format = backend.format(names.guest, { geometry, mair: MAIR });
  if (format.kind !== 'done') {
    return format;
  }
  const memory = createTableArena({ pageShift: 12, base: table, maxPages: MAX_PAGES, initialPages: 16 });
  const made = createPageTable({ format: format.value, memory });
  if (made.kind !== 'done') {
    return made;
  }
  for (const { va, ipa, size, memory: type = 'normal', writable = true } of map) {
    const kind = type === 'device' ? 'device-nGnRE' : type;
    const outcome = made.value.map(va, size, ipa, { read: true, write: writable, px: type === 'normal' && !writable, ux: false, memory: kind, af: true, nG: true, shareability: type === 'device' ? 'outer' : 'inner' });
    if (outcome.kind !== 'done') {
      return outcome;
    }
  }
  return done({ stores: storesOf(memory, table), registers: registersOf(backend, made.value.root, iaBits, asid) });
}

function registersOf(backend: Backend, root: number, iaBits: number, asid: number): GuestTables['registers'] {
  const { tcr, ttbr0, mair } = archNames(backend);
  const base = BigInt(root) | (BigInt(asid) << 48n);
  if (mair.length === 2) {
    return [[mair[0], MAIR & 0xffff_ffffn], [mair[1], MAIR >> 32n], [tcr, encoded(backend, tcr, { EAE: 1, IRGN0: 1, ORGN0: 1, SH0: 3 })], [ttbr0, base]];
  }
  const control = { T0SZ: 64 - iaBits, TG0: 0, IRGN0: 1, ORGN0: 1, SH0: 3, EPD1: 1, IPS: 2 };
  return [[mair[0], MAIR], [tcr, encoded(backend, tcr, control)], [ttbr0, base]];
}
