import type { AccessEffect, CmoEffect, DsbDomain } from '@granule/contract';
import type { Context } from './context.js';
import type { Ledger } from './ledger.js';
import { memoryClassOf, type MemoryClass } from './memory-class.js';
import { ruleOf, type ReportedRuleId } from './rules.js';
import type { TablePages } from './table-pages.js';
import { isDone, LINE_BYTES, WrittenLines, type Step, type Written } from './written.js';

/** What caches need of software. */
export type JudgedCaches = 'none' | { readonly idc: boolean; readonly dic: boolean };

/** DSBs of loads and stores complete maintenance: for this PE, or for all. */
const COMPLETES: Readonly<Partial<Record<DsbDomain, number>>> = { nsh: 0, ish: 1, osh: 1, sy: 1 };
const EVERYWHERE = 2 ** 53;
const SETS: readonly CmoEffect['op'][] = ['dc-csw', 'dc-cisw'];

type Rule = Exclude<ReportedRuleId, 'tlb.conflict'>;

/**
 * Follows what was written to memory, and what was done since to let others see it: from the effects alone, without a model of caches. An access that relies
 * on something that was not done is a violation, whatever it got.
 */
export class Bytes {
  readonly #lines = new WrittenLines();
  /** Maintenance that waits for a DSB, by PE. */
  readonly #waiting = new Map<number, Step[]>();
  /** Of each PE: its last clean by set/way, and its last ISB. */
  readonly #setWay = new Map<number, number>();
  readonly #synchronised = new Map<number, number>();
  readonly #pes = new Set<number>();
  /** The operation at hand is a loop with its barriers. */
  #whole = false;

  constructor(
    private readonly ledger: Ledger,
    private readonly pages: TablePages,
    private caches: JudgedCaches,
  ) {}

  /** CTR_EL0: IDC is bit 28, DIC bit 29 (DDI 0487 D24.2). */
  identified(ctr: bigint): void {
    this.caches = { idc: ((ctr >> 28n) & 1n) === 1n, dic: ((ctr >> 29n) & 1n) === 1n };
  }

  /** @param at the address by which a table translates the access */
  access(effect: AccessEffect, at: (context: Context) => number | undefined): void {
    const { output, access, bytes, pe = 0 } = effect;
    if (this.caches === 'none' || output === undefined || effect.mismatch !== undefined) return;
    this.#pes.add(pe);
    switch (access) {
      case 'write':
        this.#write(effect, output, memoryClassOf(effect, this.ledger.contexts, this.pages, at));
        return;
      case 'read':
        this.#read(effect, output, memoryClassOf(effect, this.ledger.contexts, this.pages, at));
        return;
      case 'fetch':
        this.#overlapping(output, bytes, (write) => {
          this.#fetch(write, pe);
        });
        return;
      case 'cache-maintenance':
      case 'at-read':
      case 'at-write':
    }
  }

  /** @param address that of the operation; in a run that of the entry at hand */
  maintain({ op, bytes }: CmoEffect, pe: number, address: number): void {
    if (this.caches === 'none' || this.#lines.isEmpty) return;
    this.#pes.add(pe);
    this.#whole = bytes > LINE_BYTES;
    if (this.#whole && op === 'ic-ivau') this.isb(pe);
    const each = (visit: (write: Written) => void, from = address, to = address + bytes): void => {
      this.#lines.visit(from, to, ({ writes }) => {
        writes.forEach(visit);
      });
    };
    switch (op) {
      case 'dc-cvac':
        each((write) => this.#clean(write, pe, true));
        return;
      case 'dc-civac':
      case 'dc-ivac':
        each((write) => {
          if (op === 'dc-civac') this.#clean(write, pe, true);
          else if (write.memory?.dirties === true && write.coherent === undefined) write.lost = this.ledger.event;
          if (write.memory?.cached === false) write.purged = this.#step(pe);
        });
        this.#lines.visit(address, address + bytes, (line) => {
          line.cached = 0;
        });
        return;
      case 'dc-cvau':
        each((write) => this.#clean(write, pe, false));
        return;
      case 'dc-zva':
        this.#write({ bytes, pe, value: undefined }, address, undefined);
        return;
      case 'ic-ivau':
      case 'ic-iallu':
      case 'ic-ialluis': {
        const all = op !== 'ic-ivau';
        each((write) => this.#invalidate(write, pe, op === 'ic-iallu'), all ? 0 : address, all ? EVERYWHERE : address + bytes);
        return;
      }
      case 'dc-isw':
      case 'dc-csw':
      case 'dc-cisw':
        if (SETS.includes(op)) this.#setWay.set(pe, this.ledger.event);
    }
  }

  dsb(pe: number, domain: DsbDomain): void {
    const reach = COMPLETES[domain];
    const waiting = this.#waiting.get(pe);
    if (reach === undefined || waiting === undefined || waiting.length === 0) return;
    for (const step of waiting) step.reach = reach;
    this.#waiting.set(pe, []);
  }

  isb(pe: number): void {
    if (!this.#lines.isEmpty) this.#synchronised.set(pe, this.ledger.event);
  }

  #write({ bytes, pe = 0, value }: Pick<AccessEffect, 'bytes' | 'pe' | 'value'>, pa: number, memory: MemoryClass | undefined): void {
    const { event } = this.ledger;
    for (let line = pa - (pa % LINE_BYTES); line < pa + bytes; line += LINE_BYTES) {
      const write: Written = {
        start: Math.max(pa, line), end: Math.min(pa + bytes, line + LINE_BYTES), event, pe, memory, value: bytes <= 8 ? value : undefined,
        coherent: undefined, unified: undefined, purged: undefined, fetchable: undefined, fetchableOn: undefined, early: 0, lost: 0, told: false,
      };
      if (memory?.cached === false) {
        // A dirty copy of the line will be written over it.
        const dirty = this.#lines.find(line)?.writes.find((each) => each.memory?.dirties === true && !isDone(each.coherent, pe));
        write.lost = dirty?.event ?? 0;
      }
      this.#lines.add(line, write);
      if (memory?.cached === true) this.#lines.of(line).cached = event;
    }
  }

  #read(effect: AccessEffect, pa: number, memory: MemoryClass | undefined): void {
    const { bytes, pe = 0 } = effect;
    this.#overlapping(pa, bytes, (write, cached) => {
      if (write.lost > 0 && !gotIt(write, effect, pa)) this.#tell('data.lost-dirty-line', write, write.lost);
      else if (memory?.cached === false) this.#readPast(write, pe);
      else if (memory?.cached === true && write.memory?.cached === false && cached > 0 && cached < write.event && !isDone(write.purged, pe)) {
        this.#tell('data.stale-read', write, write.purged?.event ?? write.event);
      }
    });
    if (memory?.cached !== true) return;
    for (let line = pa - (pa % LINE_BYTES); line < pa + bytes; line += LINE_BYTES) {
      const found = this.#lines.of(line);
      if (found.cached === 0) found.cached = this.ledger.event;
    }
  }

  /** A read past the caches that may hold the write. */
  #readPast(write: Written, pe: number): void {
    if (write.memory?.dirties !== true || isDone(write.coherent, pe)) return;
    if (write.coherent === undefined && write.unified === undefined) {
      const { pe: by, event } = this.#lastSetWay(write);
      if (event > 0 && by === write.pe && this.#pes.size === 1) return;
      if (event > 0) {
        this.#tell('cache.set-way-not-enough', write, event);
        return;
      }
    }
    this.#tell('data.stale-read', write, (write.coherent ?? write.unified)?.event ?? write.event);
  }

  /** The last clean by set/way since a write: that of its own PE, if there is one and it could be enough. */
  #lastSetWay({ event, pe }: Written): { readonly pe: number; readonly event: number } {
    const since = [...this.#setWay].map(([by, at]) => ({ pe: by, event: at })).filter((each) => each.event > event);
    return since.find((each) => each.pe === pe) ?? since.at(-1) ?? { pe, event: 0 };
  }

  /** DC CVAU and IC are needed unless CTR_EL0 says otherwise; then DSB, and ISB where the PE that invalidated goes on with the new code. */
  #fetch(write: Written, pe: number): void {
    if (this.caches === 'none') return;
    const { idc, dic } = this.caches;
    const clean = write.coherent ?? write.unified;
    if (!idc && write.memory?.dirties === true && !isDone(write.unified, pe) && !isDone(write.coherent, pe)) {
      this.#tell('code.stale-instructions', write, clean?.event ?? (write.early > 0 ? write.early : write.event));
      return;
    }
    if (dic) return;
    const local = write.fetchableOn?.get(pe);
    const step = isDone(local, pe) ? local : write.fetchable;
    if (!isDone(step, pe)) {
      this.#tell('code.stale-instructions', write, [step, local, ...(write.fetchableOn?.values() ?? [])].find((each) => each !== undefined)?.event ?? (write.early > 0 ? write.early : write.event));
    } else if (step?.pe === pe && (this.#synchronised.get(pe) ?? 0) < step.event) this.#tell('code.stale-instructions', write, step.event);
  }

  #clean(write: Written, pe: number, coherent: boolean): void {
    if (coherent && !isDone(write.coherent, pe)) write.coherent = this.#step(pe);
    if (!isDone(write.unified, pe)) write.unified = this.#step(pe);
  }

  /** Too early, while what it lets in again is not cleaned. */
  #invalidate(write: Written, pe: number, local: boolean): void {
    const needsClean = this.caches !== 'none' && !this.caches.idc && write.memory?.dirties === true;
    if (needsClean && !isDone(write.unified, pe)) write.early = this.ledger.event;
    else if (local) (write.fetchableOn ??= new Map<number, Step>()).set(pe, this.#step(pe));
    else write.fetchable = this.#step(pe);
  }

  /** Issued now; complete by the next DSB of its PE. Over several lines it is a loop that ends in its own (Linux: dcache_by_line_op, invalidate_icache_by_line). */
  #step(pe: number): Step {
    const step: Step = { event: this.ledger.event, pe, reach: this.#whole ? 1 : -1 };
    if (this.#whole) return step;
    const waiting = this.#waiting.get(pe);
    if (waiting === undefined) this.#waiting.set(pe, [step]);
    else waiting.push(step);
    return step;
  }

  #overlapping(pa: number, bytes: number, each: (write: Written, cached: number) => void): void {
    if (this.#lines.isEmpty) return;
    this.#lines.visit(pa, pa + bytes, ({ writes, cached }) => {
      for (const write of writes) if (!write.told && write.start < pa + bytes && write.end > pa) each(write, cached);
    });
  }

  #tell(rule: Rule, write: Written, cause: number): void {
    write.told = true;
    this.ledger.violate(ruleOf(rule), cause, this.ledger.event, write.start);
  }
}

/** Whether a read that tells what it got, got what was written. */
function gotIt({ start, end, value }: Written, effect: AccessEffect, pa: number): boolean {
  if (value === undefined || effect.value === undefined) return false;
  const from = Math.max(start, pa);
  const to = Math.min(end, pa + effect.bytes);
  const part = (of: bigint, at: number): bigint => (of >> BigInt(8 * (from - at))) & ((1n << BigInt(8 * (to - from))) - 1n);
  return part(value, start) === part(effect.value, pa);
}
