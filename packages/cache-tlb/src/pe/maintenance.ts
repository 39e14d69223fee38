import { DONE, type CmoEffect, type DsbDomain, type Outcome, type TlbiEffect, type TlbiScope, type Trap } from '@granule/contract';
import { guestOperation, type DataByAddress, type DataBySetWay } from '../cache/maintenance.js';
import { cachePolicy, type CachePolicy } from '../cache/policy.js';
import { TLBI_OPERATIONS } from '../tlb/operations.js';
import { reachOf, scopeOf, scopeOfEffect, type TlbiIssuer } from '../tlb/scope.js';
import { BY_ADDRESS, BY_SET_WAY, CacheOperations, effectOf } from './cache-operations.js';
import type { Pe, PeAnswer } from './pe.js';

/** Normal Write-Back, Inner Shareable: what maintenance by physical address, as software at EL2 tells of it, is of. */
const NORMAL: CachePolicy = cachePolicy(0xff, 3, false, { dataCache: true, instructionCache: true });
const DEFAULT_LINE = 64;

/** Who executes: a guest's maintenance may be trapped, and reaches further or less far. */
export type From = 'el1' | 'el2';

/** Barriers, TLB and cache maintenance of one PE. */
export class Maintenance {
  readonly #caches: CacheOperations;

  constructor(private readonly pe: Pe) {
    this.#caches = new CacheOperations(pe.machine, pe.index);
  }

  dsb(domain: DsbDomain): void {
    const { order, cacheOrder } = this.pe.machine;
    order.dsb(this.pe.index, domain);
    cacheOrder.dsb(this.pe.index, domain);
    this.pe.tell({ type: 'dsb', domain });
  }

  /**
   * A TLBI with its operand by fields, as the backend's `instructions` decode it. Trapped by HCR.TTLB where EL1 executes it. Refused: `tlbi.unknown`, and
   * what the registers make not decodable.
   */
  tlbi(name: string, operand: Readonly<Record<string, bigint>> = {}, from: From = 'el2'): Outcome<undefined> {
    if (from === 'el1' && this.#trapped('TTLB', { kind: 'operation', name })) return DONE;
    const issuer = this.#issuer(from);
    if (issuer.kind !== 'done') return issuer;
    const scope = scopeOf(name, operand, issuer.value);
    if (scope.kind !== 'done') return scope;
    this.#issue(name, scope.value, issuer.value);
    const { usesVmid, usesAsid, target } = TLBI_OPERATIONS.get(name)!;
    this.pe.tell({
      type: 'tlbi',
      op: name,
      ...((target === 'address' || target === 'range') && { address: scope.value.start }),
      ...(target === 'range' && { bytes: scope.value.end - scope.value.start }),
      ...(scope.value.level >= 0 && { level: scope.value.level as 0 | 1 | 2 | 3 }),
      ...(usesVmid && { vmid: issuer.value.vmid }),
      ...(usesAsid && { asid: Number(operand['ASID'] ?? 0n) }),
    });
    return DONE;
  }

  /** A TLBI as software at EL2 tells of it; `start` is its address as TLBs count it. Refused: `tlbi.unknown`, `tlbi.no-address`. */
  tlbiEffect(effect: TlbiEffect, start: number | undefined): Outcome<undefined> {
    const issuer = this.#issuer('el2');
    if (issuer.kind !== 'done') return issuer;
    const scope = scopeOfEffect(effect, issuer.value, start);
    if (scope.kind !== 'done') return scope;
    this.#issue(effect.op, scope.value, issuer.value);
    const uses = TLBI_OPERATIONS.get(effect.op)?.usesVmid === true;
    this.pe.tell(uses && effect.vmid === undefined ? { ...effect, vmid: issuer.value.vmid } : effect);
    return DONE;
  }

  /**
   * Cache maintenance by physical address, or by set and way, as software at EL2 tells of it. By address over more than a line it is a loop with a DSB at its
   * end; one line, or a set and way, is one instruction.
   */
  cmo(effect: CmoEffect): void {
    this.#cmo(effect);
    this.pe.tell(effect);
  }

  /** DC or IC by VA: the translation may fault, as that of an access. ZVA is a store of zeros: on Device memory an alignment fault. */
  byAddress(operation: DataByAddress | 'IVAU' | 'ZVA', regime: string, address: bigint, from: From = 'el2'): PeAnswer {
    if (operation === 'ZVA') return this.pe.access({ regime, type: 'write', privileged: true, address, zero: true });
    const answer = this.pe.access({ regime, type: 'cache-maintenance', privileged: true, address, bytes: 1 });
    if (answer.kind !== 'done') return answer;
    const { output, attributes, shareability } = answer;
    const policy = cachePolicy(attributes, shareability, operation === 'IVAU', { dataCache: true, instructionCache: true });
    const effective = operation === 'IVAU' ? operation : this.#as(operation, from);
    this.#caches.byAddress(effective, Number(address & 0xf_ffff_ffff_ffffn), output, policy);
    const bytes = this.#lineBytes();
    this.pe.tell({ type: 'cmo', ...effectOf(effective), address: output - (output % bytes), bytes });
    return answer;
  }

  /** DC ISW, CSW, CISW: the operand's bits 31:4 and 3:1. Trapped by HCR.TSW where EL1 executes it. */
  bySetWay(operation: DataBySetWay, setWay: number, level: number, from: From = 'el2'): void {
    const operand = setWay * 16 + level * 2;
    if (from === 'el1' && this.#trapped('TSW', { kind: 'operation', name: operation, operand: BigInt(operand) })) return;
    const effective = this.#as(operation, from);
    this.#caches.bySetWay(effective, setWay, level);
    this.pe.tell({ type: 'cmo', ...effectOf(effective), address: operand, bytes: 0 });
  }

  /** IC IALLU, IC IALLUIS. HCR.FB makes what EL1 executes reach the Inner Shareable domain. */
  instructions(inner: boolean, from: From = 'el2'): void {
    const decoded = this.pe.decoded();
    const wide = inner || (from === 'el1' && decoded.kind === 'done' && decoded.value.hcr('FB'));
    this.#caches.instructions(wide);
    this.pe.tell({ type: 'cmo', op: wide ? 'ic-ialluis' : 'ic-iallu', to: 'pou', address: 0, bytes: 0 });
  }

  /** MSR of EL1: trapped by HCR.TVM. */
  guestRegister(name: string, value: bigint): void {
    if (!this.#trapped('TVM', { kind: 'operation', name, operand: value })) this.pe.writeRegister(name, value);
  }

  /** Without a handler nothing is trapped. A handler that wants the instruction executed again is taken to have switched the trap off. */
  #trapped(bit: string, trap: Trap): boolean {
    const decoded = this.pe.decoded();
    const { handler } = this.pe.machine;
    if (handler === undefined || decoded.kind !== 'done' || !decoded.value.hcr(bit)) return false;
    const answer = handler.trap(this.pe.index, trap);
    this.pe.isb();
    return answer.kind !== 'retry';
  }

  /** An operation stays by address, or by set and way. */
  #as<T extends DataByAddress | DataBySetWay>(operation: T, from: From): T {
    return from === 'el1' ? (guestOperation(operation, this.#guest()) as T) : operation;
  }

  #guest(): { readonly vm: boolean; readonly swio: boolean } {
    const decoded = this.pe.decoded();
    const bit = (name: string): boolean => decoded.kind === 'done' && decoded.value.hcr(name);
    return { vm: bit('VM') || bit('DC'), swio: bit('SWIO') };
  }

  #issuer(from: From): Outcome<TlbiIssuer> {
    const decoded = this.pe.inForce();
    if (decoded.kind !== 'done') return decoded;
    return { kind: 'done', value: { ...decoded.value.issuer, el: from === 'el1' ? 1 : 2 } };
  }

  /** Without a chooser it takes effect at once. */
  #issue(name: string, scope: TlbiScope, issuer: TlbiIssuer): void {
    const { order, choose } = this.pe.machine;
    const id = order.invalidate(this.pe.index, scope, reachOf(TLBI_OPERATIONS.get(name)!, issuer));
    if (choose === undefined) for (const each of order.choices()) if (each.invalidation === id) order.take(each);
  }

  #cmo({ op, address, bytes }: CmoEffect): void {
    const setWay = BY_SET_WAY[op];
    if (setWay !== undefined) {
      this.#caches.bySetWay(setWay, Math.floor(address / 16), Math.floor(address / 2) % 8);
      return;
    }
    if (op === 'ic-iallu' || op === 'ic-ialluis') {
      this.#caches.instructions(op === 'ic-ialluis');
      return;
    }
    const operation = BY_ADDRESS[op];
    const lineBytes = this.#lineBytes();
    const first = address - (address % lineBytes);
    if (operation === undefined) {
      const end = Math.ceil((address + bytes) / lineBytes) * lineBytes;
      this.pe.machine.store(this.pe.index, first, new Uint8Array(end - first));
      return;
    }
    const loop = bytes > lineBytes;
    if (loop) this.pe.machine.cacheOrder.dsb(this.pe.index, 'sy');
    for (let line = first; line < address + bytes; line += lineBytes) this.#caches.byAddress(operation, line, line, NORMAL, loop);
  }

  #lineBytes(): number {
    return this.pe.machine.caches?.lineBytes ?? DEFAULT_LINE;
  }
}

/** For what a sink cannot answer: an exception, since an effect has no outcome. */
export function mustHappen(outcome: Outcome<undefined>): void {
  if (outcome.kind !== 'done') throw new RangeError(outcome.sentence);
}

