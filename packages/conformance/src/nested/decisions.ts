import fc from 'fast-check';
import type { ShadowDecision } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { ensure, forAll } from '../law.js';
import { flat, HOST_OFFSET, NestedBench, type NestedLaw, type NestedSubject } from './bench.js';
import { allows, type Access, type Rights } from './host.js';
import { abortSyndrome, stage2Off, type Vtcr } from './registers.js';

const V40: Vtcr = { granule: '4K', inputBits: 40, startLevel: 1 };
const DATA = 0x4000_0000;
const MiB2 = 2 ** 21;
const PERMISSION = 0x0c;

const ACCESSES: readonly Access[] = (['read', 'write', 'fetch'] as const).flatMap((type) => [
  { type, privileged: true },
  { type, privileged: false },
]);

const rights = fc.record({ read: fc.boolean(), write: fc.boolean(), executeEl1: fc.boolean(), executeEl0: fc.boolean() });
const access = fc.constantFrom(...ACCESSES);

function rightsText({ read, write, executeEl1, executeEl0 }: Rights): string {
  return [read && 'read', write && 'write', executeEl1 && 'execute at EL1', executeEl0 && 'execute at EL0'].filter(Boolean).join(', ') || 'nothing';
}

/** A page with these rights, and the decision about one access. */
function decided(subject: NestedSubject, given: Rights, asked: Access, permission: boolean, xnx = true): ShadowDecision {
  const features = { granules2: ['4K'] as const, xnx, ttl: false, tlbirange: false, xs: false };
  const bench = new NestedBench(subject, { guest: { features } });
  const { tables, state } = bench.stage2(V40);
  const { read, write, executeEl1: px, executeEl0: ux } = given;
  tables.map(0, 3, DATA, { read, write, px, ux });
  bench.enter(0, state);
  return bench.decide(0, 0, asked, permission);
}

function permissionFaults(subject: NestedSubject): void {
  forAll(fc.record({ given: rights, asked: access }), subject.budget, ({ given, asked }) => {
    const decision = decided(subject, given, asked, true);
    const what = `permission fault of a ${asked.privileged ? 'privileged' : 'user'} ${asked.type} where the guest hypervisor permits ${rightsText(given)}`;
    if (allows(given, asked)) {
      ensure('decision.permission-mapped', decision.did === 'map', () => `${what}: forwarded`);
      return;
    }
    ensure('decision.permission-forwarded', decision.did === 'forward', () => `${what}: not forwarded`);
    ensure('decision.permission-status', decision.statusCode === PERMISSION + 3 && decision.level === 3, () => `${what}: status 0x${decision.statusCode.toString(16)}`);
    const esr = abortSyndrome({ fetch: asked.type === 'fetch', write: asked.type === 'write', permission: true });
    ensure('decision.permission-syndrome', decision.esr === esr - (esr & 0x3fn) + BigInt(PERMISSION + 3), () => `${what}: ESR_EL2 ${hex(decision.esr)}`);
  });
}

/** A translation fault is not held against permissions: it is mapped with what the guest hypervisor leaves. */
function translationFaults(subject: NestedSubject): void {
  forAll(fc.record({ given: rights, asked: access }), subject.budget, ({ given, asked }) => {
    const decision = decided(subject, given, asked, false);
    const what = `translation fault where the guest hypervisor permits ${rightsText(given)}`;
    ensure('decision.translation-mapped', decision.did === 'map', () => `${what}: forwarded`);
    const { limits } = decision;
    const same = limits.read === given.read && limits.write === given.write && limits.executeEl1 === given.executeEl1 && limits.executeEl0 === given.executeEl0;
    ensure('decision.rights', same, () => `${what}: may be mapped with ${rightsText(limits)}`);
  });
}

/** Without FEAT_XNX, execution is permitted at both levels or at neither. */
function withoutXnx(subject: NestedSubject): void {
  for (const execute of [true, false]) {
    for (const privileged of [true, false]) {
      const given = { read: true, write: true, executeEl1: execute, executeEl0: execute };
      const decision = decided(subject, given, { type: 'fetch', privileged }, true, false);
      ensure('decision.xn', (decision.did === 'map') === execute, () => `without FEAT_XNX a fetch at ${privileged ? 'EL1' : 'EL0'} of what is ${execute ? '' : 'not '}executable: ${decision.did}`);
    }
  }
}

/** A block of the guest hypervisor's over memory that the host has in blocks or in pages, and the other way round. */
function sizes(subject: NestedSubject): void {
  for (const [level, host, due] of [[2, 4096, 4096], [2, MiB2, MiB2], [1, MiB2, MiB2], [3, MiB2, 4096]] as const) {
    const bench = new NestedBench(subject, { maps: flat(host) });
    const { tables, state } = bench.stage2(V40);
    tables.map(DATA, level, DATA);
    const { index } = bench.enter(0, state);
    const at = DATA + (level === 3 ? 0x8 : 0x3008);
    const reach = bench.access(0, index, at, { type: 'read', privileged: true });
    const what = `level ${level} over host leaves of ${host} bytes`;
    ensure('decision.size', reach.kind === 'reached' && reach.bytes === due, () => `${what}: not mapped by ${due} bytes`);
    ensure('decision.output', reach.output === at + HOST_OFFSET, () => `${what}: reaches ${hex(reach.output)}`);
    ensure('decision.tag', reach.tag === level, () => `${what}: tagged ${reach.tag ?? 'not at all'}`);
  }
}

function off(subject: NestedSubject): void {
  const bench = new NestedBench(subject);
  bench.enter(0, stage2Off(3, 0x7000_0000));
  for (const permission of [false, true]) {
    const decision = bench.decide(0, DATA + 8, { type: 'write', privileged: false }, permission);
    ensure('decision.off', decision.did === 'map', 'with stage 2 off a fault is not for the host');
    const { ipa, maxBytes, read, write, executeEl1, executeEl0, level } = decision.limits;
    ensure('decision.off', ipa === DATA + 8, () => `with stage 2 off ${hex(DATA + 8)} goes to ${hex(ipa)}`);
    ensure('decision.off', read && write && executeEl1 && executeEl0 && maxBytes >= 2 ** 30, 'with stage 2 off something is limited');
    ensure('decision.off', level === undefined, 'with stage 2 off a level is noted');
  }
}

export const decisionLaws: readonly NestedLaw[] = [
  { name: 'decision.permission', sentence: 'a permission fault is forwarded where the guest hypervisor’s entry denies the access, at the privilege that made it', check: permissionFaults },
  { name: 'decision.translation', sentence: 'any other fault is mapped, with what the entry permits', check: translationFaults },
  { name: 'decision.xn', sentence: 'without FEAT_XNX execution is permitted at both levels or at neither', check: withoutXnx },
  { name: 'decision.size', sentence: 'a mapping is as large as the smaller of both, of a size that the host has, and notes the guest hypervisor’s level', check: sizes },
  { name: 'decision.off', sentence: 'with stage 2 off addresses are the VM’s own', check: off },
];
