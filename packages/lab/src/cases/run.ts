import {
  done,
  refused,
  type Abort,
  type Backend,
  type CaseAnswer,
  type CaseChanges,
  type CaseMachine,
  type CaseQuery,
  type Features,
  type Outcome,
  type Registers,
  type TranslationCase,
} from '@granule/contract';
import { bytesSource, sparseMemory, type SparseMemory } from '@granule/memory';
import { context, createTranslation, faultOf, readerMemory, translate, type Choices, type Context, type DescriptorMemory, type Translation } from '@granule/mmu';
import { operationOf, type Operation, type Setting } from './operations.js';

/** The backend for a machine's state. */
export type CaseBackends = Readonly<Record<CaseMachine['state'], Backend>>;

/** HCR_EL2: general exceptions of EL0 and external aborts go to EL2. */
const TGE = 1n << 27n;
const TEA = 1n << 37n;

/** One case set up: registers decoded, memory filled. */
interface Bench {
  readonly backend: Backend;
  readonly features: Features;
  readonly registers: Registers;
  readonly context: Context;
  readonly memory: DescriptorMemory;
  readonly setting: Setting;
}

/** RAM of the machine's windows, zero but for the words of the case. Refused: `image.*`, `memory.*`. */
function caseMemory(windows: CaseMachine['windows'], words: TranslationCase['memory']): Outcome<SparseMemory> {
  const memory = sparseMemory(windows.map(([pa, bytes]) => ({ pa, bytes, fileBytes: 0, source: bytesSource(new Uint8Array(0)), offset: 0 })));
  if (memory.kind !== 'done') return memory;
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  for (const [address, value] of words) {
    view.setBigUint64(0, value, true);
    const written = memory.value.write(address, bytes);
    if (written.kind !== 'done') return written;
  }
  return memory;
}

function bench(each: TranslationCase, machine: CaseMachine, backends: CaseBackends, choices: Choices): Outcome<Bench> {
  const backend = backends[machine.state];
  const registers: Registers = { ...machine.id, ...each.registers };
  const features = backend.registers.features(machine.id);
  const decoded = context(backend, features, registers, choices);
  if (decoded.kind !== 'done') return decoded;
  const memory = caseMemory(machine.windows, each.memory);
  if (memory.kind !== 'done') return memory;
  const setting = { hcr: each.registers['HCR_EL2'] ?? 0n, vhe: features.vhe, nv: features.nv === true, pan: features.pan };
  return done({ backend, features, registers, context: decoded.value, memory: readerMemory(memory.value), setting });
}

function changes({ updates }: Translation): CaseChanges {
  return Array.from({ length: updates.count }, (_, i) => {
    const value = (BigInt(updates.newHi[i]) << 32n) | BigInt(updates.newLo[i]);
    return [updates.address[i], value] as const;
  });
}

/** The exception level that an abort of an access is taken to (DDI 0487 D1.4, AArch64.AbortException). */
function targetOf(operation: Operation, out: Translation, { setting, features }: Bench): number {
  const { type, stage } = out.fault;
  const external = type === 'external-abort-on-walk' && features.ras === true && (setting.hcr & TEA) !== 0n;
  const host = operation.el === 0 && (setting.hcr & TGE) !== 0n;
  return operation.el === 2 || stage === 2 || host || external ? 2 : 1;
}

function abortOf(query: CaseQuery, operation: Operation, out: Translation, bench: Bench): Abort {
  const write = operation.access.type === 'write';
  const transfer = operation.instruction || operation.access.type === 'fetch' ? undefined : BYTE_OF_W0;
  const to = operation.instruction ? operation.el : targetOf(operation, out, bench);
  const access = { from: operation.el, to, va: query.va, write, maintenance: operation.instruction, ...(transfer && { transfer }) };
  return bench.backend.faults.abort!(faultOf(out), access);
}

/** LDRB and STRB with W0, as a syndrome tells of them. */
const BYTE_OF_W0 = { sas: 0, signed: false, register: 0, wide: false, ordered: false } as const;

/** An external abort on the walk of an AT instruction is taken as an exception; every other fault is reported in PAR. */
function failed(query: CaseQuery, operation: Operation, out: Translation, bench: Bench): CaseAnswer {
  const changed = changes(out);
  if (!operation.instruction) return { abort: abortOf(query, operation, out, bench), changed };
  if (out.fault.type === 'external-abort-on-walk') return { esr: abortOf(query, operation, out, bench).esr, changed };
  return { par: bench.backend.faults.par(faultOf(out)), changed };
}

function answer(query: CaseQuery, bench: Bench, out: Translation): Outcome<CaseAnswer> {
  const operation = operationOf(query.op, query.pan, bench.setting);
  if (operation === undefined || !bench.context.regimes.has(operation.access.regime)) {
    return refused('cases.operation', `Operation ${query.op} is not one of this machine.`, 'translation cases');
  }
  if (!translate(bench.context, bench.memory, query.va, operation.access, out)) return done(failed(query, operation, out, bench));
  const changed = changes(out);
  return done(operation.instruction ? { par: bench.backend.faults.parSuccess!(out), changed } : { ok: true, changed });
}

/** Answers the queries of a case, each by itself. Refused: `cases.*`, `image.*`, `memory.*`; not modelled: as the backend's `controls`. */
export function runCase(each: TranslationCase, machine: CaseMachine, backends: CaseBackends, choices: Choices = {}): Outcome<readonly CaseAnswer[]> {
  const ready = bench(each, machine, backends, choices);
  if (ready.kind !== 'done') return ready;
  const out = createTranslation();
  const answers: CaseAnswer[] = [];
  for (const query of each.queries) {
    const answered = answer(query, ready.value, out);
    if (answered.kind !== 'done') return answered;
    answers.push(answered.value);
  }
  return done(answers);
}
