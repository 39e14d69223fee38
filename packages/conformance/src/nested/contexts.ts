import fc from 'fast-check';
import type { NestedState, ShadowContext } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { ensure, forAll } from '../law.js';
import { NestedBench, type NestedLaw } from './bench.js';
import type { Call } from './host.js';
import { stage2Off, vtcrOf, vttbrOf } from './registers.js';

const VTCR = vtcrOf({ granule: '4K', inputBits: 40, startLevel: 1 });
const OTHER_VTCR = vtcrOf({ granule: '4K', inputBits: 39, startLevel: 1 });

const on = (vmid: number, base: number, vtcr = VTCR): NestedState => ({ vttbr: vttbrOf(vmid, base), vtcr, stage2: true });

/** Guests that all need a context of their own. */
const GUESTS = [1, 2, 3, 4, 5, 6].map((vmid) => on(vmid, 0x8000_0000));

/** Runs a guest on a vCPU and takes it off again; answers the context's number. */
function visit(bench: NestedBench, vcpu: number, state: NestedState): number {
  const { index } = bench.enter(vcpu, state);
  bench.shadow.put(vcpu);
  return index;
}

function twoPerVcpu(bench: NestedBench): void {
  const { shadow, host } = bench;
  const before = shadow.contexts.length;
  shadow.addVcpu();
  const added = host.drain();
  const numbers = added.map(({ context }) => context).join(', ');
  ensure('contexts.two', added.length === 2 && shadow.contexts.length === before + 2, () => `a vCPU brings contexts ${numbers || 'none'}`);
  ensure('contexts.two', added.every((call, i) => call.did === 'add' && call.context === before + i), () => `a vCPU brings contexts ${numbers}`);
  ensure('contexts.fresh', shadow.contexts.every(({ valid, pendingUnmap, references }) => !valid && !pendingUnmap && references === 0), 'a new context is in use');
}

/** Both guests run one after the other; whether they share a context. */
function shared(bench: NestedBench, one: NestedState, other: NestedState): boolean {
  return visit(bench, 0, one) === visit(bench, 0, other);
}

function keys(bench: () => NestedBench): void {
  const one = on(1, 0x8000_0000);
  ensure('contexts.hit', shared(bench(), one, { ...one }), 'the same registers find another context');
  ensure('contexts.cnp', shared(bench(), one, { ...one, vttbr: one.vttbr + 1n }), 'CnP makes another context');
  ensure('contexts.cnp', shared(bench(), { ...one, vttbr: one.vttbr + 1n }, one), 'CnP makes another context');
  const others: readonly (readonly [string, NestedState])[] = [
    ['contexts.key-vmid', on(2, 0x8000_0000)],
    ['contexts.key-baddr', on(1, 0x9000_0000)],
    ['contexts.key-vtcr', on(1, 0x8000_0000, OTHER_VTCR)],
    ['contexts.key-vm', stage2Off(1, 0x8000_0000)],
  ];
  for (const [name, other] of others) {
    ensure(name, !shared(bench(), one, other), () => `VTTBR_EL2 ${hex(other.vttbr)}, VTCR_EL2 ${hex(other.vtcr)} gets the context of another guest`);
    ensure(name, !shared(bench(), other, one), () => `VTTBR_EL2 ${hex(other.vttbr)}, VTCR_EL2 ${hex(other.vtcr)} leaves its context to another guest`);
  }
  ensure('contexts.off-by-vmid', shared(bench(), stage2Off(3), { ...stage2Off(3, 0x7000_0000), vtcr: VTCR }), 'stage 2 is off, and BADDR or VTCR_EL2 count');
  ensure('contexts.off-by-vmid', !shared(bench(), stage2Off(3), stage2Off(4)), 'stage 2 is off, and VMIDs share a context');
}

function victims(bench: NestedBench): void {
  const order = GUESTS.slice(0, 5).map((guest) => visit(bench, 0, guest));
  ensure('contexts.victim-in-turn', order.join() === '0,1,2,3,0', () => `five guests get contexts ${order.join(', ')} of four`);
  ensure('contexts.victim-in-turn', visit(bench, 0, GUESTS[2]) === 2, 'a guest that has a context gets another');
  ensure('contexts.victim-in-turn', visit(bench, 0, GUESTS[5]) === 1, 'the search for a victim does not go on after the last one');
}

function heldStay(bench: NestedBench): void {
  const held = bench.enter(1, GUESTS[0]).index;
  const others = [...GUESTS.slice(1), ...GUESTS.slice(1)].map((guest) => visit(bench, 0, guest));
  ensure('contexts.held-stay', !others.includes(held), () => `context ${held} is given to another guest while a vCPU holds it`);
  ensure('contexts.references', bench.shadow.contexts[held].references === 1, () => `context ${held} has ${bench.shadow.contexts[held].references} references`);
  bench.shadow.put(1);
  ensure('contexts.references', bench.shadow.contexts.every(({ references }) => references === 0), 'a context that nobody runs is held');
}

function keeps(bench: NestedBench): void {
  const { shadow } = bench;
  const held = bench.enter(0, GUESTS[0]).index;
  shadow.put(0, { keep: true });
  const others = [...GUESTS.slice(1), ...GUESTS.slice(1)].map((guest) => visit(bench, 1, guest));
  ensure('contexts.keep', !others.includes(held), 'a vCPU that was scheduled out loses its context');
  ensure('contexts.keep', bench.enter(0, GUESTS[0]).index === held, 'a vCPU that was scheduled out comes back to another context');
  ensure('contexts.references', shadow.contexts[held].references === 1, () => `a vCPU that came back holds its context ${shadow.contexts[held].references} times`);
}

const isUnmap = (call: Call): call is Call & { did: 'unmap' } => call.did === 'unmap';

/** What was unmapped whole, by context. */
function unmappedWhole(bench: NestedBench): readonly number[] {
  const limit = 2 ** bench.guest.paBits;
  return bench.host
    .drain()
    .filter(isUnmap)
    .map(({ context, start, end }) => {
      ensure('contexts.unmap-whole', start === 0 && end >= limit, () => `context ${context} is unmapped in [${hex(start)}, ${hex(end)}) alone`);
      return context;
    });
}

function lazily(bench: NestedBench): void {
  const { shadow } = bench;
  for (const guest of GUESTS.slice(0, 4)) visit(bench, 0, guest);
  ensure('contexts.fresh', unmappedWhole(bench).length === 0, 'a context that nobody had is unmapped');
  const victim = shadow.load(0, GUESTS[4]);
  ensure('contexts.lazy', unmappedWhole(bench).length === 0, 'a context that is taken over is unmapped at once');
  ensure('contexts.pending', victim.pendingUnmap, 'a context that is taken over owes nothing');
  shadow.put(0);
  ensure('contexts.pending', shadow.contexts[victim.index].pendingUnmap, 'what a context owes is forgotten when its vCPU leaves before entry');
  const again = shadow.load(1, GUESTS[4]);
  ensure('contexts.hit', again.index === victim.index, 'another vCPU finds another context');
  shadow.beforeEntry(1);
  const unmapped = unmappedWhole(bench);
  ensure('contexts.unmap-before-entry', unmapped.join() === String(victim.index), () => `before entry contexts ${unmapped.join(', ') || 'none'} are unmapped, not ${victim.index}`);
  shadow.put(1);
  visit(bench, 0, GUESTS[4]);
  ensure('contexts.unmap-once', unmappedWhole(bench).length === 0, 'a context that owes nothing is unmapped again');
}

type Turn = { readonly vcpu: number; readonly guest: number } | { readonly vcpu: number; readonly keep: boolean };

const turns = fc.array(
  fc.oneof(
    fc.record({ vcpu: fc.nat(2), guest: fc.nat(GUESTS.length - 1) }),
    fc.record({ vcpu: fc.nat(2), keep: fc.boolean() }),
  ),
  { maxLength: 60, size: 'max' },
);

/** However vCPUs come and go, one that asks gets a context, for the registers it asked with, and nobody else's. */
function neverFails(bench: NestedBench, all: readonly Turn[]): void {
  const { shadow } = bench;
  const running = new Map<number, { readonly context: ShadowContext; readonly guest: number; readonly inside: boolean }>();
  for (const turn of all) {
    const now = running.get(turn.vcpu);
    if ('guest' in turn) {
      if (now?.inside === true) shadow.put(turn.vcpu);
      // One that was scheduled out comes back to the guest that it ran.
      const guest = now?.inside === false ? now.guest : turn.guest;
      const context = loaded(bench, turn.vcpu, guest);
      running.set(turn.vcpu, { context, guest, inside: true });
    } else if (now?.inside === true) {
      shadow.put(turn.vcpu, { keep: turn.keep });
      if (turn.keep) running.set(turn.vcpu, { ...now, inside: false });
      else running.delete(turn.vcpu);
    }
    for (const { context, guest } of running.values()) {
      const { vttbr, valid, references } = shadow.contexts[context.index];
      ensure('contexts.held-stay', valid && references > 0 && vttbr === GUESTS[guest].vttbr, () => `context ${context.index} is held for VMID ${guest + 1} and given away`);
    }
  }
}

function loaded(bench: NestedBench, vcpu: number, guest: number): ShadowContext {
  try {
    return bench.enter(vcpu, GUESTS[guest]);
  } catch (error) {
    ensure('contexts.never-fails', false, `No context for a vCPU that holds none: ${String(error)}`);
  }
}

export const contextLaws: readonly NestedLaw[] = [
  { name: 'contexts.two', sentence: 'each vCPU brings two contexts, empty', check: (subject) => twoPerVcpu(new NestedBench(subject)) },
  { name: 'contexts.key', sentence: 'VMID, BADDR, VTCR_EL2 and HCR_EL2.VM tell guests apart, CnP does not; off, the VMID alone', check: (subject) => keys(() => new NestedBench(subject, { vcpus: 2 })) },
  { name: 'contexts.victim-in-turn', sentence: 'a guest without a context gets the next in turn', check: (subject) => victims(new NestedBench(subject, { vcpus: 2 })) },
  { name: 'contexts.held-stay', sentence: 'a context that a vCPU holds stays with its guest', check: (subject) => heldStay(new NestedBench(subject, { vcpus: 2 })) },
  { name: 'contexts.keep', sentence: 'a vCPU that is scheduled out keeps its context', check: (subject) => keeps(new NestedBench(subject, { vcpus: 2 })) },
  { name: 'contexts.lazy', sentence: 'what a former guest had mapped goes before the next entry, by whichever vCPU, once', check: (subject) => lazily(new NestedBench(subject, { vcpus: 2 })) },
  {
    name: 'contexts.never-fails',
    sentence: 'a vCPU that holds no context gets one, whatever the others hold',
    check: (subject) => forAll(turns, subject.budget, (all) => neverFails(new NestedBench(subject, { vcpus: 3 }), all)),
  },
];
