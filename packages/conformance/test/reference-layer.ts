import {
  done, DONE, refused, type GuestMemory, type HostStage2, type NestedFault, type NestedGuest, type NestedLayer, type NestedState, type Outcome, type ShadowContext, type ShadowDecision,
  type ShadowStage2,
} from '@granule/contract';
import { levelShift, type Granule, type Level } from '@granule/geometry';
import type { LayerFault } from './mutants/layers.js';
import { controlsOf, ReferenceGuestWalk } from './reference-guest-walk.js';

type Context = { -readonly [Field in keyof ShadowContext]: ShadowContext[Field] };

const vmidOf = (vttbr: bigint): bigint => vttbr >> 48n;
const LEVELS: Readonly<Record<Granule, readonly Level[]>> = { '4K': [3, 2, 1], '16K': [3, 2], '64K': [3, 2] };

/**
 * A nested layer written from the description of KVM's alone, as plainly as it goes. It exists to test the suite: with a `broken` it does one thing wrong.
 */
class ReferenceLayer implements ShadowStage2 {
  readonly contexts: Context[] = [];
  readonly #running: ({ readonly context: Context; readonly state: NestedState } | undefined)[] = [];
  readonly #walk: ReferenceGuestWalk;
  /** The vCPU that made a context owe something: all that the mutant `owed-to-one-vcpu` asks. */
  readonly #debtors = new Map<number, number>();
  #next = 0;

  constructor(
    private readonly guest: NestedGuest,
    memory: GuestMemory,
    private readonly host: HostStage2,
    private readonly broken: LayerFault | undefined,
  ) {
    this.#walk = new ReferenceGuestWalk(guest, memory, broken);
  }

  addVcpu(): Outcome<number> {
    for (let i = 0; i < (this.broken === 'one-context-a-vcpu' ? 1 : 2); i++) {
      const index = this.contexts.length;
      this.contexts.push({ index, valid: false, vttbr: 1n, vtcr: 0n, stage2: false, pendingUnmap: false, references: 0 });
      this.host.add(index);
    }
    this.#running.push(undefined);
    return done(this.#running.length - 1);
  }

  load(vcpu: number, state: NestedState): ShadowContext {
    const held = this.#running[vcpu];
    if (held !== undefined) return held.context;
    let context = this.contexts.find((each) => each.valid && this.#matches(each, state));
    if (context === undefined) {
      context = this.#victim(vcpu);
      Object.assign(context, { valid: true, vttbr: this.#key(state.vttbr), vtcr: state.vtcr, stage2: state.stage2 });
    }
    context.references += 1;
    this.#running[vcpu] = { context, state };
    return context;
  }

  #key(vttbr: bigint): bigint {
    return this.broken === 'cnp-tells-apart' ? vttbr : vttbr - (vttbr & 1n);
  }

  #matches({ vttbr, vtcr, stage2 }: Context, state: NestedState): boolean {
    const sameVmid = vmidOf(vttbr) === vmidOf(state.vttbr);
    const sameBase = vttbr === this.#key(state.vttbr);
    const sameVm = stage2 === state.stage2 || this.broken === 'vm-bit-not-looked-at';
    if (this.broken === 'found-by-vmid-alone') return sameVmid && sameVm;
    if (!state.stage2) return sameVmid && sameVm && (sameBase || this.broken !== 'off-by-baddr');
    return sameVm && sameBase && (vtcr === state.vtcr || this.broken === 'vtcr-not-looked-at');
  }

  #victim(vcpu: number): Context {
    const count = this.contexts.length;
    const from = this.broken === 'victim-always-the-first' ? 0 : this.#next;
    const order = Array.from({ length: count }, (_, i) => this.contexts[(from + i) % count]);
    const victim = order.find(({ references }) => references === 0 || this.broken === 'victim-may-be-held') ?? order[0];
    this.#next = (victim.index + 1) % count;
    if (victim.valid && this.broken === 'unmaps-at-once') this.host.unmap(victim.index, 0, 2 ** this.guest.paBits);
    victim.pendingUnmap ||= victim.valid;
    this.#debtors.set(victim.index, vcpu);
    return victim;
  }

  put(vcpu: number, { keep = false }: { readonly keep?: boolean } = {}): void {
    const held = this.#running[vcpu];
    if (held === undefined || (keep && this.broken !== 'descheduled-gives-back')) return;
    if (this.broken !== 'reference-leaks' || held.context.index > 0) held.context.references -= 1;
    this.#running[vcpu] = undefined;
  }

  beforeEntry(vcpu: number): void {
    const context = this.#running[vcpu]?.context;
    if (context === undefined || this.broken === 'never-unmaps') return;
    if (this.broken === 'owed-to-one-vcpu' && this.#debtors.get(context.index) !== vcpu) return;
    if (context.pendingUnmap) this.host.unmap(context.index, 0, 2 ** (this.guest.paBits - (this.broken === 'unmaps-half' ? 1 : 0)));
    if (this.broken !== 'unmaps-every-time') context.pendingUnmap = false;
  }

  fault(vcpu: number, fault: NestedFault): ShadowDecision {
    const running = this.#running[vcpu];
    if (running === undefined) throw new RangeError(`vCPU ${vcpu} runs nothing.`);
    if (!running.state.stage2 && this.broken !== 'off-walks') {
      return { did: 'map', limits: { ipa: fault.ipa, maxBytes: Infinity, read: true, write: true, executeEl1: true, executeEl0: true, level: undefined } };
    }
    const walked = this.#walk.walk(running.state, fault.ipa);
    switch (walked.kind) {
      case 'retry':
        return { did: 'retry' };
      case 'fault':
        return this.#forward(fault, walked.statusCode, walked.level);
      case 'found': {
        const { px, ux, read, level, output } = walked;
        const write = walked.write || (this.broken === 'write-with-read' && read);
        const denied = !(fault.fetch ? (fault.privileged ? px : ux) : fault.write ? write : read);
        const looks = fault.permission || this.broken === 'rights-in-the-walk';
        const forwarded = this.broken === 'permission-always-forwarded' ? fault.permission : denied && looks && this.broken !== 'permission-never-forwarded';
        if (forwarded) return this.#forward(fault, 0x0c + level, level);
        const maxBytes = this.broken === 'size-of-the-host' ? Infinity : walked.bytes;
        return { did: 'map', limits: { ipa: output, maxBytes, read, write, executeEl1: px, executeEl0: ux, level: this.broken === 'level-not-noted' ? 3 : level } };
      }
    }
  }

  #forward({ esr }: NestedFault, statusCode: number, level: Level): ShadowDecision {
    const kept = this.broken === 'syndrome-made-up' ? 0n : esr - (esr & 0x3fn);
    return { did: 'forward', esr: kept + BigInt(statusCode), statusCode, level, sentence: `Status 0x${statusCode.toString(16)}.` };
  }

  tlbi(state: NestedState, name: string, operand: bigint): Outcome<undefined> {
    const parts = /^(ALLE1|VMALLS12E1|R?IPAS2L?E1|VMALLE1|R?VA{1,2}L?E1|ASIDE1|ALLE2|R?VAL?E2)(IS|OS|)(NXS|)$/.exec(name);
    if (parts === null) return refused('tlbi.unknown', `${name} is no TLBI.`, 'test');
    const [, base, share, nxs] = parts;
    const { features, tlbios = features.tlbirange } = this.guest;
    const lacking = (base.startsWith('R') && !features.tlbirange) || (share === 'OS' && !tlbios) || (nxs !== '' && !features.xs);
    if (lacking && this.broken !== 'everything-defined') return refused('tlbi.undefined', `${name} is UNDEFINED.`, 'test');
    if (base.endsWith('E2') && this.broken !== 'el2-unmaps') return DONE;
    const all = this.contexts.filter(({ valid, vttbr }) => valid && (vmidOf(vttbr) === vmidOf(state.vttbr) || (base === 'ALLE1' && this.broken !== 'all-of-the-vmid')));
    const current = this.broken === 'current-context-alone' ? all.filter(({ vttbr }) => vttbr === this.#key(state.vttbr)) : all;
    for (const context of this.broken === 'first-context-of-the-vmid' ? current.slice(0, 1) : current) this.#carryOut(context, base, operand, all);
    return DONE;
  }

  #carryOut(context: Context, base: string, operand: bigint, all: readonly Context[]): void {
    const { host, broken } = this;
    const limit = 2 ** this.guest.paBits;
    if (base === 'ALLE1' || base === 'VMALLS12E1' || base.endsWith('E2')) {
      host.unmap(context.index, 0, limit);
    } else if (base.startsWith('RIPA')) {
      const shift = [broken === 'range-granule-reserved-is-4k' ? 12 : 16, 12, 14, 16][Number((operand >> 46n) & 3n)];
      const pages = (Number((operand >> 39n) & 31n) + 1) * 2 ** (5 * Number((operand >> 44n) & 3n) + 1);
      const start = Number(operand & (2n ** 37n - 1n)) * 2 ** shift;
      const end = start + (pages - (broken === 'range-of-one-page-less' ? 1 : 0)) * 2 ** shift;
      if (start < limit) host.unmap(context.index, start, broken === 'range-beyond-the-input' ? end : Math.min(end, limit));
    } else if (base.startsWith('IPA')) {
      const ipa = Number(operand & (2n ** 36n - 1n)) * 4096;
      const bytes = this.#bytes(context, ipa, Number((operand >> 44n) & 15n));
      host.unmap(context.index, ipa - (ipa % bytes), ipa - (ipa % bytes) + bytes);
    } else {
      if (broken === 'stage1-unmaps') host.unmap(context.index, 0, limit);
      if (broken === 'stage1-first-context' && context !== all[0]) return;
      host.invalidateStage1(context.index, broken === 'stage1-local' ? base : `${base}IS`, operand);
    }
  }

  #bytes({ index, vtcr }: Context, ipa: number, ttl: number): number {
    const { granule } = controlsOf(vtcr, this.guest);
    const levels = LEVELS[granule];
    const size = (of: Granule | undefined, level: number): number => (of && LEVELS[of].includes(level as Level) ? 2 ** levelShift(of, level as Level) : 0);
    const largest = 2 ** levelShift(granule, this.broken === 'page-where-nothing-tells' ? 3 : levels[levels.length - 1]);
    if (ttl !== 0 && (this.guest.features.ttl || this.broken === 'hint-without-the-feature') && this.broken !== 'hint-ignored') {
      return size([undefined, '4K', '16K', '64K'][ttl >>> 2] as Granule | undefined, ttl % 4) || largest;
    }
    for (const level of this.broken === 'tag-ignored' ? [] : levels) {
      const start = ipa - (ipa % 2 ** levelShift(granule, level));
      const tag = this.host.leaf(index, start)?.tag ?? 0;
      if (tag === 0) continue;
      const bytes = size(granule, tag);
      return (ipa < start + bytes || this.broken === 'tag-whatever-it-reaches') && bytes > 0 ? bytes : largest;
    }
    return largest;
  }

  unmapAll(): void {
    this.#each(this.broken === 'host-unmaps-one', ({ index }) => { this.host.unmap(index, 0, 2 ** this.guest.paBits); });
  }

  writeProtectAll(): void {
    this.#each(this.broken === 'host-protects-one', ({ index }) => { this.host.writeProtect(index); });
  }

  flushAll(): void {
    if (this.broken !== 'host-flushes-none') this.#each(false, ({ index }) => { this.host.flush(index); });
  }

  #each(one: boolean, act: (context: Context) => void): void {
    const valid = this.contexts.filter((each) => each.valid);
    for (const context of one ? valid.slice(0, 1) : valid) act(context);
  }
}

export const referenceLayer = (broken?: LayerFault): NestedLayer => ({
  name: 'reference',
  open: ({ guest, memory, host }) => done(new ReferenceLayer(guest, memory, host, broken)),
});
