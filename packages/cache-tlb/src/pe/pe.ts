import {
  notModelled,
  refused,
  type AccessType,
  type Effect,
  type EffectSink,
  type FaultValue,
  type Format,
  type Mismatch,
  type NotModelled,
  type Outcome,
  type Refused,
  type Registers,
  type TlbModel,
  type TlbStage,
  type Trap,
  type Words,
} from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { alignDown, bigintHigh, bigintLow } from '@granule/geometry/bits';
import { createTranslation, faultOf, translateWords, type Access, type Translation } from '@granule/mmu';
import { decide, type Choose } from './choice.js';
import { Conflicts, type Conflicting } from './conflicts.js';
import { createCounts, difference, readCaches, type Counts } from './counts.js';
import { DataPath, ZERO_BYTES } from './data.js';
import { entriesOf, type Fetched } from './entries.js';
import type { Machine } from './machine.js';
import { Maintenance } from './maintenance.js';
import type { Decoded, Setting } from './setting.js';
import { TableSink } from './sink.js';
import { Walk, type WalkMode } from './walk.js';

/** One access of a program. */
export interface PeAccess extends Access {
  /** The VA as the program gives it, all 64 bits. */
  readonly address: bigint;
  /** 1 … 8, within one page; default 8. Instructions: 4. */
  readonly bytes?: number;
  /** What a write stores, little-endian; default 0. */
  readonly value?: bigint;
  /** A write of zeros to the whole block around the address, as DC ZVA does; `bytes` and `value` do not count. */
  readonly zero?: boolean;
}

export interface PeDone {
  readonly kind: 'done';
  readonly output: number;
  /** Where stage 2 is in force. */
  readonly ipa?: number;
  readonly attributes: number;
  readonly shareability: number;
  /** What was read or fetched; what was written. Absent for AT and cache maintenance. */
  readonly value?: bigint;
  /** The bytes are not those that were written last, and why. */
  readonly mismatch?: Mismatch;
  readonly cost: Counts;
}

/** The program takes an exception. */
export interface PeFault {
  readonly kind: 'fault';
  readonly fault: FaultValue;
  readonly cost: Counts;
}

/** The handler did the work. */
export interface PeSkipped {
  readonly kind: 'skipped';
  readonly value?: bigint;
  readonly cost: Counts;
}

export type PeAnswer = PeDone | PeFault | PeSkipped | Refused | NotModelled;

/** Translations begun again, and instructions executed again, before the machine is taken to be stuck. */
const LIMIT = 64;
const COMBINED: readonly TlbStage[] = ['combined', 'stage1'];
const ALONE: readonly TlbStage[] = ['stage1'];
/** Accesses that move no data. */
const MOVES_NOTHING: readonly AccessType[] = ['cache-maintenance', 'at-read', 'at-write'];

/** What a translation came to. */
interface Reached {
  readonly ok: boolean;
  readonly setting: Setting;
  readonly conflict?: Conflicting;
  /** Something of it is for the TLB. */
  readonly keeps: boolean;
}

/** One processing element: accesses and maintenance by its registers, through its TLB and the caches of its machine. */
export class Pe implements EffectSink {
  readonly counts: Counts = createCounts();
  readonly maintenance: Maintenance;
  readonly #out: Translation = createTranslation();
  readonly #walk: Walk;
  readonly #data: DataPath;
  readonly #word: Words = { lo: 0, hi: 0 };
  readonly #conflicts: Conflicts;
  #registers: Registers;
  #decoded: Outcome<Decoded> | undefined;

  constructor(
    readonly machine: Machine,
    readonly index: number,
    readonly tlb: TlbModel,
    registers: Registers,
  ) {
    this.#registers = registers;
    this.#data = new DataPath(machine, index);
    this.#conflicts = new Conflicts(tlb, machine.features.bbm ?? 0);
    this.maintenance = new Maintenance(this);
    const read = (pa: number, into: Words): boolean => machine.readDescriptor(index, pa, into);
    this.#walk = new Walk({ pe: index, tlb, order: machine.order, read, conflicts: this.#conflicts, counts: this.counts });
  }

  get registers(): Registers {
    return this.#registers;
  }

  /** What its registers say, as last written. */
  decoded(): Outcome<Decoded> {
    this.#decoded ??= this.machine.contexts.of(this.#registers);
    return this.#decoded;
  }

  /** The registers that an instruction of now works with: of one written and not synchronised, any value since the last synchronisation. */
  inForce(): Outcome<Decoded> {
    const { order, choose } = this.machine;
    if (choose === undefined) return this.decoded();
    let registers = this.#registers;
    for (const [name, value] of Object.entries(this.#registers)) {
      const earlier = order.registers(this.index, name);
      const pick = decide(choose, 1 + earlier.length);
      if (pick > 0 && earlier[pick - 1] !== value) registers = { ...registers, [name]: earlier[pick - 1] };
    }
    return registers === this.#registers ? this.decoded() : this.machine.contexts.of(registers);
  }

  /** MSR, MCR. Translation may use the old value until {@link isb}. */
  writeRegister(name: string, value: bigint): void {
    this.machine.order.writeRegister(this.index, name, this.#registers[name] ?? 0n);
    this.#registers = { ...this.#registers, [name]: value };
    this.#decoded = undefined;
    this.tell({ type: 'register', name, value });
  }

  /** ISB; also exception entry and return, which synchronise the context as it does. */
  isb(): void {
    this.machine.order.isb(this.index);
    this.tell({ type: 'isb' });
  }

  /** An effect of software on this PE: what does not depend on a table's format. {@link tables} takes the others too. */
  effect(effect: Effect): void {
    new TableSink(this, undefined).effect(effect);
  }

  /** The sink of software on this PE that keeps tables of this format: its writes go to memory, its maintenance to TLBs and caches. */
  tables(format: Format): EffectSink {
    return new TableSink(this, format);
  }

  /** Tells the machine's listener, under this PE's number. */
  tell(effect: Effect): void {
    this.machine.tell(effect.type === 'take' || effect.type === 'free' ? effect : { ...effect, pe: this.index });
  }

  read(regime: string, address: bigint, options: Partial<PeAccess> = {}): PeAnswer {
    return this.access({ privileged: true, ...options, regime, type: 'read', address });
  }

  write(regime: string, address: bigint, value: bigint, options: Partial<PeAccess> = {}): PeAnswer {
    return this.access({ privileged: true, ...options, regime, type: 'write', address, value });
  }

  fetch(regime: string, address: bigint, options: Partial<PeAccess> = {}): PeAnswer {
    return this.access({ privileged: true, bytes: 4, ...options, regime, type: 'fetch', address });
  }

  /**
   * Makes an access: translates, moves bytes, and where stage 2 faults asks the handler. Refused: `pe.regime`, `pe.size`; not modelled: what the registers ask
   * for and `mmu` does not model, and `pe.stuck` where the handler has it executed again without end.
   */
  access(asked: PeAccess): PeAnswer {
    const access = asked.zero === true ? { ...asked, address: asked.address & -BigInt(ZERO_BYTES), bytes: ZERO_BYTES } : asked;
    const { bytes = 8 } = access;
    if (access.zero !== true && (!(bytes >= 1 && bytes <= 8) || (Number(access.address & 0xfffn) + bytes > 4096 && !MOVES_NOTHING.includes(access.type)))) {
      return refused('pe.size', `An access of ${bytes} bytes at 0x${access.address.toString(16)} is not 1 to 8 bytes within a page.`, 'Pe.access');
    }
    const before = this.#reading();
    for (let attempt = 0; attempt < LIMIT; attempt += 1) {
      const answer = this.#once(access, before);
      if (answer.kind !== 'fault' || answer.fault.stage !== 2) return answer;
      const { handler } = this.machine;
      const trap: Trap = { kind: 'abort', fault: answer.fault, write: access.type === 'write', bytes, ...(access.value !== undefined && { value: access.value }) };
      const done = handler?.trap(this.index, trap) ?? { kind: 'deliver' as const };
      if (done.kind === 'deliver') return answer;
      // Return from the exception.
      this.isb();
      if (done.kind === 'skip') return { ...done, kind: 'skipped', cost: difference(this.#reading(), before) };
    }
    return notModelled('pe.stuck', `The access at 0x${access.address.toString(16)} was trapped ${LIMIT} times.`, 'TrapHandler');
  }

  /**
   * A walk that nobody asked for, of an address that an access could use: its result is kept, as far as the architecture lets a TLB keep it. It sets no access
   * flag.
   */
  speculate(access: PeAccess): void {
    const { choose } = this.machine;
    const reached = this.#translate(access, { choose, fresh: false, speculative: true }, choose);
    if (!('kind' in reached) && reached.keeps) this.#keep(reached.setting, access, false);
  }

  #reading(): Counts {
    const { caches } = this.machine;
    if (caches !== undefined) readCaches(this.counts, caches, this.index);
    return { ...this.counts };
  }

  #once(access: PeAccess, before: Counts): PeAnswer {
    const reached = this.#settle(access);
    if ('kind' in reached) return reached;
    const { setting, ok, conflict } = reached;
    if (conflict !== undefined || !ok) return this.#fault(setting, conflict === undefined ? faultOf(this.#out) : this.#noWalk(access, 'tlb-conflict', conflict), before);
    const { output, attributes, shareability } = this.#out;
    // Device memory has attributes without a Normal outer nibble (DDI 0487 MAIR_EL1, and DC ZVA).
    if (access.zero === true && attributes < 0x10) return this.#fault(setting, this.#noWalk(access, 'alignment'), before);
    const ipa = setting.format2 === undefined ? undefined : this.#ipa();
    const still = MOVES_NOTHING.includes(access.type);
    const moved = still ? {} : this.#data.move(access, output, attributes, shareability);
    if (moved === undefined) return this.#fault(setting, this.#noWalk(access, 'external-abort'), before);
    const found = { output, attributes, shareability, ...(ipa !== undefined && { ipa }), ...moved };
    this.tell({ type: 'access', access: access.type, address: setting.place(access.address) - setting.start, bytes: access.bytes ?? 8, ...found, regime: setting.regime, ...this.#tags(setting) });
    return { kind: 'done', ...found, cost: difference(this.#reading(), before) };
  }

  /** The IPA of the access just translated, which its last walk of stage 2 was of. */
  #ipa(): number | undefined {
    const last = this.#walk.log.at(-1);
    return last?.stage === 2 ? last.ipa : undefined;
  }

  #tags({ vmid, asid, tlbRegime, format2 }: Setting): { readonly vmid?: number; readonly asid?: number } {
    return { ...(tlbRegime === 'el10' && format2 !== undefined && { vmid }), ...(asid >= 0 && { asid }) };
  }

  /** An exception is taken, which synchronises the context. */
  #fault(setting: Setting, fault: FaultValue, before: Counts): PeFault {
    this.machine.order.isb(this.index);
    this.tell({ type: 'fault', fault, regime: setting.regime, ...this.#tags(setting) });
    return { kind: 'fault', fault, cost: difference(this.#reading(), before) };
  }

  /** A fault that no descriptor tells of. */
  #noWalk({ address, type: access }: PeAccess, type: FaultValue['type'], where: Conflicting = { stage: 1 }): FaultValue {
    return { type, level: 0, s1ptw: false, access, address: Number(address & 0xf_ffff_ffff_ffffn), upper: false, ...where };
  }

  /** Translates until every descriptor that hardware wants to write could be written. */
  #settle(access: PeAccess): Reached | Refused | NotModelled {
    const { choose } = this.machine;
    for (let attempt = 0; attempt < LIMIT; attempt += 1) {
      const fresh = attempt > 0;
      const reached = this.#translate(access, { choose: fresh ? undefined : choose, fresh, speculative: false }, choose);
      if ('kind' in reached || reached.conflict !== undefined) return reached;
      if (this.#commit(reached.setting, access)) {
        if (reached.keeps) this.#keep(reached.setting, access, true);
        return reached;
      }
      this.counts.restarts += 1;
    }
    return notModelled('pe.stuck', 'A descriptor changes each time that hardware wants to write it.', 'DDI 0487 D8.5');
  }

  #translate(access: PeAccess, mode: WalkMode, choose: Choose | undefined): Reached | Refused | NotModelled {
    const decoded = mode.fresh ? this.decoded() : this.inForce();
    if (decoded.kind !== 'done') return unknown(decoded);
    const setting = decoded.value.settingAt(access.regime, access.address);
    if (setting === undefined) return refused('pe.regime', `These registers have no regime ${access.regime}.`, 'DDI 0487 D8.1');
    const address = setting.place(access.address);
    const both = setting.format2 !== undefined && access.stages !== 'one';
    const conflict = mode.fresh || mode.speculative ? undefined : this.#conflicts.at(setting, address, both);
    if (this.#aborts(conflict, choose)) return { ok: false, setting, conflict, keeps: false };
    const walk = this.#walk;
    const entry = walk.begin(setting, mode, address, both ? COMBINED : ALONE);
    const whole = entry?.kind === 'leaf' && entry.stage === 'combined';
    const { context } = whole ? entry.setting : setting;
    const ok = translateWords(context, walk, bigintLow(access.address), bigintHigh(access.address), access, this.#out);
    if (this.#aborts(walk.conflict, choose)) return { ok: false, setting, conflict: walk.conflict, keeps: false };
    const nothingNew = entry?.kind === 'leaf' && (whole || setting.format2 === undefined);
    return { ok, setting, keeps: walk.keeps && !nothingNew };
  }

  /** Puts what the last walk found into the TLB; `written`: with what hardware wrote there. */
  #keep(setting: Setting, { address }: PeAccess, written: boolean): void {
    const { updates } = this.#out;
    const current = (each: Fetched): Fetched => {
      const at = updates.address.subarray(0, updates.count).indexOf(each.pa);
      return at === -1 ? each : { ...each, lo: updates.newLo[at], hi: updates.newHi[at] };
    };
    const { log } = this.#walk;
    const seen = written && updates.count > 0 ? log.map(current) : log;
    for (const entry of entriesOf(setting, seen, setting.place(address), this.#out)) this.tlb.insert(entry);
  }

  #aborts(conflict: Conflicting | undefined, choose: Choose | undefined): conflict is Conflicting {
    if (conflict === undefined) return false;
    return choose === undefined ? this.machine.conflicts === 'abort' : choose(2) === 1;
  }

  /** Compare-and-swap of what hardware wants to write. False: one is not what was read; then none after it is written. */
  #commit(setting: Setting, access: PeAccess): boolean {
    const { updates } = this.#out;
    const word = this.#word;
    for (let i = 0; i < updates.count; i += 1) {
      const pa = updates.address[i];
      if (!this.machine.readDescriptor(this.index, pa, word)) return false;
      if (word.lo !== updates.oldLo[i] || word.hi !== updates.oldHi[i]) return false;
      this.machine.writeDescriptor(this.index, pa, updates.newLo[i], updates.newHi[i]);
      this.counts.updates += 1;
      this.#tellUpdate(setting, access, i);
    }
    return true;
  }

  #tellUpdate(setting: Setting, { address }: PeAccess, at: number): void {
    const { updates } = this.#out;
    const pa = updates.address[at];
    const second = updates.stage[at] === 2;
    const { granule, pageShift } = (second ? setting.format2 : setting.format1)!.geometry;
    const level = updates.level[at] as Level;
    const ipa = this.#walk.log.find((each) => each.stage === 2 && each.pa === pa)?.ipa;
    const table = alignDown(pa, pageShift);
    this.tell({
      type: 'write',
      table,
      level,
      index: (pa - table) / 8,
      count: 1,
      address: alignDown(second ? (ipa ?? 0) : setting.place(address) - setting.start, levelShift(granule, level)),
      old: Uint32Array.of(updates.oldLo[at], updates.oldHi[at]),
      new: Uint32Array.of(updates.newLo[at], updates.newHi[at]),
      release: false,
    });
  }
}

function unknown(outcome: Exclude<Outcome<unknown>, { readonly kind: 'done' }>): Refused | NotModelled {
  return outcome.kind === 'refused' || outcome.kind === 'not-modelled' ? outcome : notModelled(outcome.id, outcome.sentence, outcome.source);
}
