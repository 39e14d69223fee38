import { done, type CaseAnswer, type CaseMachine, type CaseQuery, type CaseTranslator } from '@granule/contract';
import { successPAR } from './attributes.js';
import { bit } from './bits.js';
import { abortOf, Fault, faultPAR, instructionSyndrome, type AccessDescriptor } from './faults.js';
import { TwinMachine } from './machine.js';
import type { Regime } from './params.js';
import { fullTranslate, s1Translate } from './stage1.js';
import type { Located } from './stage2.js';
import { translate32 } from './aarch32.js';

/** TranslationRegime, ELIsInHost. */
function regimeOf(machine: TwinMachine, el: 0 | 1 | 2): Regime {
  const hcr = machine.reg('HCR_EL2');
  const e2h = machine.features.vhe && bit(hcr, 34);
  if (el === 2) return e2h ? 'EL20' : 'EL2';
  return e2h && bit(hcr, 27) && el === 0 ? 'EL20' : 'EL10';
}

function changesOf(machine: TwinMachine): CaseAnswer['changed'] {
  return [...machine.changed].map(([address, value]) => [Number(address), value] as const);
}

/** What an address translation instruction reports: PAR, but it takes an external abort of its walk as an exception. */
function reported(machine: TwinMachine, translated: () => Located): CaseAnswer {
  try {
    const { address, memattrs } = translated();
    return { par: successPAR(machine, address, memattrs), changed: changesOf(machine) };
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
    if (fault.type === 'external') return { esr: instructionSyndrome(fault), changed: changesOf(machine) };
    return { par: faultPAR(fault), changed: changesOf(machine) };
  }
}

/** AArch64.AT: in a host (E2H, TGE) the operations of EL1 are those of EL2&0. */
function addressTranslation(machine: TwinMachine, { op, va, pan }: CaseQuery): CaseAnswer {
  const [, stages, level, kind, withPan] = /^S(1|12)E([012])([RW])(P?)$/u.exec(op)!;
  const named = Number(level) as 0 | 1 | 2;
  const host = regimeOf(machine, 0) === 'EL20';
  const el = named === 1 && host ? 2 : named;
  const acc: AccessDescriptor = { acctype: 'at', el, read: kind === 'R', write: kind === 'W', pan: withPan === 'P' && pan };
  return reported(machine, () => (stages === '12' ? fullTranslate : s1Translate)(machine, regimeOf(machine, el), va, acc));
}

/** A byte load or store, or a fetch; AArch64.IsUnprivAccessPriv for LDTRB and STTRB. */
function access(machine: TwinMachine, { op, va, pan }: CaseQuery): CaseAnswer {
  const [, kind, level] = /^(FETCH|LDRB|STRB|LDTRB|STTRB)_EL([012])$/u.exec(op)!;
  const at = Number(level) as 0 | 1 | 2;
  const hcr = machine.reg('HCR_EL2');
  const privileged = machine.features.nv && bit(hcr, 42) && bit(hcr, 43);
  const el = kind.includes('T') && kind !== 'FETCH' && kind[2] === 'T' && !privileged ? 0 : at;
  const write = kind.startsWith('ST');
  const acc: AccessDescriptor = { acctype: kind === 'FETCH' ? 'ifetch' : 'gpr', el, read: !write, write, pan: kind !== 'FETCH' && pan };
  try {
    fullTranslate(machine, regimeOf(machine, at), va, acc);
    return { ok: true, changed: changesOf(machine) };
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
    return { abort: abortOf(machine, fault, acc, at, va), changed: changesOf(machine) };
  }
}

/** The ATS operations of AArch32, executed in Hyp mode. */
function addressTranslation32(machine: TwinMachine, { op, va }: CaseQuery): CaseAnswer {
  const [, which, write] = /^ATS(1C[PU]|12NSO[PU]|1H)([RW])$/u.exec(op)!;
  const el = which === '1H' ? 2 : which.endsWith('U') ? 0 : 1;
  const acc: AccessDescriptor = { acctype: 'at', el, read: write === 'R', write: write === 'W', pan: false };
  return reported(machine, () => translate32(machine, el === 2 ? 'PL2' : 'PL10', which.startsWith('12'), va, acc));
}

/** The answer to one query, of a machine that no other query has written to. */
export function answer(machine: TwinMachine, query: CaseQuery, state: CaseMachine['state']): CaseAnswer {
  if (state === 'aarch32') return addressTranslation32(machine, query);
  return query.op.includes('_') ? access(machine, query) : addressTranslation(machine, query);
}

/** The architecture's own pseudocode, written again in bigint: what the model of the hardware is compared with. */
export const twin: CaseTranslator = (each, machine) => done(each.queries.map((query) => answer(new TwinMachine(each, machine), query, machine.state)));
