import type { Backend } from '@granule/contract';
import { PERMISSION } from '@granule/mmu';
import { levelPrefix } from './access.js';
import type { Run } from './translation.js';

/** What an access through a stage-1 regime gets, both stages combined. */
export interface CombinedResult {
  /** `R-X`; where two exception levels differ, `EL0/R-- EL1/RW-`. */
  readonly permissions: string;
  /** Memory attributes as a MAIR byte, and in words; absent and `unknown` where the file has no MAIR. */
  readonly mair?: number;
  readonly memory: string;
  readonly shareability: 'non-shareable' | 'reserved' | 'outer shareable' | 'inner shareable';
  /** Bytes around the address that the answer holds for: the smaller leaf. */
  readonly size: number;
  /** PAR after an address translation instruction. */
  readonly par?: bigint;
}

const SHAREABILITY = ['non-shareable', 'reserved', 'outer shareable', 'inner shareable'] as const;

const letters = (bits: number, read: number, write: number, execute: number): string =>
  (bits & read ? 'R' : '-') + (bits & write ? 'W' : '-') + (bits & execute ? 'X' : '-');

function permissionText(run: Run): string {
  const { read, write, execute, userRead, userWrite, userExecute } = PERMISSION;
  const { permissions } = run.out;
  const [{ unprivileged, regime }] = run.controls.stage1;
  const high = letters(permissions, read, write, execute);
  const low = letters(permissions, userRead, userWrite, userExecute);
  const prefix = levelPrefix(regime);
  return !unprivileged || high === low ? high : `${prefix}0/${low} ${prefix}${regime === 'el20' ? 2 : 1}/${high}`;
}

/** A MAIR byte in the backend's words: as the first field of the register. */
function memoryText({ registers }: Backend, byte: number): string {
  const name = registers.names.includes('MAIR_EL1') ? 'MAIR_EL1' : 'MAIR0';
  const fields = registers.explain(name, BigInt(byte));
  return (fields.kind === 'done' && fields.value.find(({ lsb }) => lsb === 0)?.meaning) || 'unknown';
}

/** The combined result of a run that reached an output; nothing for stage 2 alone, whose leaf says all. */
export function combined(run: Run): { readonly result?: CombinedResult } {
  const { out, tables, fetches } = run;
  const [{ backend, format }] = tables;
  const leaf = fetches.findLast(({ stage }) => stage === 1);
  if (!out.ok || leaf === undefined) {
    return {};
  }
  const { output, attributes, shareability, shift } = out;
  const common = { permissions: permissionText(run), shareability: SHAREABILITY[shareability], size: 2 ** shift };
  if (format.decodeLeaf(leaf.lo, leaf.hi, leaf.level).memory === 'unknown') {
    return { result: { ...common, memory: 'unknown' } };
  }
  const par = backend.faults.parSuccess?.({ output, attributes, shareability });
  return { result: { ...common, mair: attributes, memory: memoryText(backend, attributes), ...(par !== undefined && { par }) } };
}
