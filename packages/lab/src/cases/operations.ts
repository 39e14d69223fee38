import type { AccessType } from '@granule/contract';
import type { Access } from '@granule/mmu';

/** HCR bits that decide which regime an operation uses. */
const E2H = 1n << 34n;
const TGE = 1n << 27n;
/** NV and NV1: EL1 is a guest hypervisor. */
const NV_NV1 = 3n << 42n;

/** What one operation or access of a case asks of the walker. */
export interface Operation {
  readonly access: Access;
  /** An AT or ATS instruction, whose answer is a PAR; otherwise an access, by the exception level that makes it. */
  readonly instruction: boolean;
  readonly el: number;
}

/** How the machine's registers bend operations: FEAT_VHE's host, FEAT_NV's guest hypervisor. */
export interface Setting {
  readonly hcr: bigint;
  readonly vhe: boolean;
  readonly nv: boolean;
  /** FEAT_PAN: without it there is no PSTATE.PAN to set. */
  readonly pan: boolean;
}

const TABLE = /^S(?<stages>12|1)E(?<el>[012])(?<kind>[RW])(?<pan>P?)$/u;
const TABLE32 = /^ATS(?<stages>12NSO|1C|1H)(?<level>[PU]?)(?<kind>[RW])$/u;
const ACCESS = /^(?<what>FETCH|LDRB|STRB|LDTRB|STTRB)_(?<el>EL[012])$/u;
const ACCESS_TYPES: Readonly<Record<string, AccessType>> = { FETCH: 'fetch', LDRB: 'read', LDTRB: 'read', STRB: 'write', STTRB: 'write' };

/** The regime of an exception level: EL0 and EL1 share one, which is the host's with {E2H, TGE} = {1, 1}; EL2's has two levels with E2H. */
function regimeOf(el: number, { hcr, vhe }: Setting): string {
  const e2h = vhe && (hcr & E2H) !== 0n;
  if (el === 2) return e2h ? 'el20' : 'el2';
  return e2h && (hcr & TGE) !== 0n ? 'el20' : 'el10';
}

/**
 * The operation of this name, or undefined where it is not known. AT S1E1* and S12E1* of a host (E2H and TGE) are of EL2&0, from EL2; S1E* give the IPA where
 * there is a stage 2 (DDI 0487 C5.5, AT S1E1R and its kin). LDTRB and STTRB at EL1 have the rights of EL0, but a guest hypervisor's those of EL1
 * (AArch64.IsUnprivAccessPriv).
 */
export function operationOf(name: string, asked: boolean, setting: Setting): Operation | undefined {
  const pan = asked && setting.pan;
  const at = TABLE.exec(name)?.groups;
  if (at !== undefined) {
    const el = Number(at['el']);
    const type = at['kind'] === 'R' ? 'at-read' : 'at-write';
    const access: Access = { regime: regimeOf(el, setting), type, privileged: el > 0, pan: pan && at['pan'] === 'P', stages: at['stages'] === '1' ? 'one' : 'both' };
    return { access, instruction: true, el: 3 };
  }
  return operation32(name) ?? accessOf(name, pan, setting);
}

function operation32(name: string): Operation | undefined {
  const ats = TABLE32.exec(name)?.groups;
  if (ats === undefined) return undefined;
  const hyp = ats['stages'] === '1H';
  const type = ats['kind'] === 'R' ? 'at-read' : 'at-write';
  const access: Access = { regime: hyp ? 'pl2' : 'pl10', type, privileged: hyp || ats['level'] === 'P', stages: ats['stages'] === '12NSO' ? 'both' : 'one' };
  return { access, instruction: true, el: 2 };
}

function accessOf(name: string, pan: boolean, setting: Setting): Operation | undefined {
  const found = ACCESS.exec(name)?.groups;
  if (found === undefined) return undefined;
  const el = Number(found['el'].slice(2));
  const asEl0 = ['LDTRB', 'STTRB'].includes(found['what']) && !(setting.nv && (setting.hcr & NV_NV1) === NV_NV1);
  const privileged = el > 0 && !asEl0;
  const type = ACCESS_TYPES[found['what']];
  return { access: { regime: regimeOf(el, setting), type, privileged, pan: pan && privileged && type !== 'fetch' }, instruction: false, el };
}
