import { ENTRY, type ExplainedField, type FaultValue, type Format } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import type { Fetch } from '@granule/mmu';
import { virtualBits } from '../image/addresses.js';
import { levelPrefix } from './access.js';
import type { StageEnd } from './address-walk.js';
import { type Blame, blamePermission } from './permission.js';
import { type Run, tablesOfStage } from './translation.js';

/** What made a walk fault. */
export interface FaultCause {
  /** The descriptor at fault; absent where registers are, before the first fetch. */
  readonly descriptor?: Fetch;
  /** Its field that decided. */
  readonly field?: ExplainedField;
  /** The registers that decided instead: `TTBR0_EL1/TCR_EL1`. */
  readonly registers?: string;
  /** Where the architecture says so. */
  readonly clause: string;
  /** DFSC, IFSC, FST. */
  readonly statusCode: number;
  /** PAR after an address translation instruction. */
  readonly par: bigint;
}

const FAULT_NAMES: Readonly<Record<FaultValue['type'], string>> = {
  'translation': 'Translation',
  'access-flag': 'Access flag',
  'permission': 'Permission',
  'address-size': 'Address size',
  'external-abort': 'External abort',
  'external-abort-on-walk': 'External abort on a walk',
  'alignment': 'Alignment',
  'tlb-conflict': 'TLB conflict',
  'unsupported-atomic-update': 'Unsupported atomic update',
};

/**
 * The end of a walk that faulted.
 *
 * @param fetches of the stage that faulted, the descriptor at fault last
 * @param address of the access, where it is in no range
 */
export function faultEnd(run: Run, fault: FaultValue, fetches: readonly Fetch[], address?: bigint): StageEnd & { kind: 'fault' } {
  const blame = blameOf(run, fault, fetches, address);
  const { type, stage, level, s1ptw } = fault;
  const { backend } = run.tables[0];
  const sentence = `${FAULT_NAMES[type]} fault, stage ${stage}, level ${level}: ${blame.why}.`;
  const cause = {
    ...(blame.fetch && { descriptor: blame.fetch }),
    ...(blame.field && { field: blame.field }),
    ...(blame.registers !== undefined && { registers: blame.registers }),
    clause: blame.clause,
    statusCode: backend.faults.statusCode(fault),
    par: backend.faults.par(fault),
  };
  return { kind: 'fault', fault, cause, sentence: s1ptw ? `Stage 2 does not translate the table walk: ${sentence}` : sentence };
}

function blameOf(run: Run, fault: FaultValue, fetches: readonly Fetch[], address: bigint | undefined): Blame {
  const fetch = fetches.at(-1);
  if (fetch === undefined && fault.type !== 'permission') {
    return blameRegisters(run, fault, address);
  }
  const { format } = tablesOfStage(run.tables, fault.stage);
  if (fault.type === 'permission') {
    return blamePermission(run, fault, fetches);
  }
  if (fault.type === 'access-flag') {
    return { ...fieldOf(format, fetch!, 'AF'), why: 'the access flag is 0, and hardware does not set it' };
  }
  return fault.type === 'address-size' ? blameOutput(format, fetch!) : blameInvalid(format, fetch!);
}

/** A field of a descriptor by name, and its clause. */
export function fieldOf(format: Format, fetch: Fetch, ...names: readonly string[]): Required<Pick<Blame, 'fetch' | 'clause'>> & Pick<Blame, 'field'> {
  const fields = format.explain(fetch.lo, fetch.hi, fetch.level);
  const named = fields.filter(({ name }) => names.includes(name));
  const field = named.find(({ value }) => value !== 0n) ?? named[0];
  return field === undefined ? { fetch, clause: fields[0].clause } : { fetch, field, clause: field.clause };
}

/** An entry that is invalid, or of a type that its level does not have. */
function blameInvalid(format: Format, fetch: Fetch): Blame {
  const { lo, hi, level } = fetch;
  const valid = fieldOf(format, fetch, 'Valid');
  if (lo % 2 === 0) {
    return { ...valid, why: format.kind(lo, hi, level) === ENTRY.zero ? 'the entry is zero' : 'the entry is not valid' };
  }
  const meaning = `reserved: level ${level} has no block with this granule`;
  const field = { name: 'Type', msb: 1, lsb: 1, value: 0n, meaning: level === 3 ? 'reserved: level 3 has pages alone' : meaning, clause: valid.clause };
  return { ...valid, field, why: 'the entry is reserved' };
}

/** An output address or table beyond the output size. */
function blameOutput(format: Format, fetch: Fetch): Blame {
  const { lo, hi, level } = fetch;
  const { oaBits } = format.geometry;
  const leaf = format.kind(lo, hi, level) === ENTRY.leaf;
  const output = leaf ? format.leafOutput(lo, hi, level) : format.tableOutput(lo, hi);
  const field = format.explain(lo, hi, level).find(({ name, value }) => {
    const lsb = /^(?:OA|NextLevelTable)\[\d+:(\d+)\]$/.exec(name)?.[1];
    return lsb !== undefined && value << BigInt(lsb) >= 2n ** BigInt(oaBits);
  });
  const why = `${hex(output)} has more than ${oaBits} bits`;
  return { fetch, ...(field && { field }), clause: field?.clause ?? 'DDI 0487 D8.2', why };
}

/** No descriptor was read: the address, or where the table is, is what registers forbid. */
function blameRegisters(run: Run, fault: FaultValue, address: bigint | undefined): Blame {
  const { tables, controls } = run;
  const at = tablesOfStage(tables, fault.stage);
  const armv7 = levelPrefix(controls.stage1[0].regime) === 'PL';
  const registers = at.from;
  if (fault.type === 'address-size') {
    const why = `the table at ${hex(at.root)} is beyond ${at.format.geometry.oaBits} bits`;
    return { registers, clause: armv7 ? 'DDI 0406C B3.6' : 'DDI 0487 D8.2', why };
  }
  if (fault.stage === 2) {
    const why = `${hex(address ?? fault.ipa!)} is outside of ${at.format.geometry.iaBits} bits from 0`;
    return { registers, clause: armv7 ? 'DDI 0406C B3.6' : 'DDI 0487 D8.2', why };
  }
  const [control] = controls.stage1;
  const range = fault.upper ? control.upper : control.lower;
  if (range?.unprivilegedOff === true && run.access.el === 0) {
    return { registers, clause: 'DDI 0487 TCR_EL1.E0PD0', why: 'EL0 has no access to this range (TCR.E0PD)' };
  }
  const sizes = tables.map(({ format, range: part }) =>
    part === undefined
      ? `${format.geometry.iaBits} bits ${format.upper ? `at the top of ${virtualBits(format)}` : 'from 0'}`
      : `${hex(part.start)} to ${hex(part.end)}`,
  );
  const where = address === undefined ? 'the address' : hex(address);
  return { registers, clause: armv7 ? 'DDI 0406C B3.6.4' : 'DDI 0487 D8.2.4', why: `${where} is outside of ${sizes.join(' and ')}` };
}
