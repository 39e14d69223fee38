import type { NestedGuest, NestedState } from '@granule/contract';
import { entrySpan, type Granule } from '@granule/geometry';
import { alignDown, hex } from '@granule/geometry/bits';
import { ensure } from '../law.js';
import { flat, NestedBench, type BenchOptions, type NestedLaw, type NestedSubject } from './bench.js';
import { callText, type Call } from './host.js';
import { byIpa, byRange, stage2Off, vtcrOf, vttbrOf, type Vtcr } from './registers.js';

const V40: Vtcr = { granule: '4K', inputBits: 40, startLevel: 1 };
const VTCRS: Readonly<Record<Granule, Vtcr>> = {
  '4K': V40,
  '16K': { granule: '16K', inputBits: 40, startLevel: 2 },
  '64K': { granule: '64K', inputBits: 40, startLevel: 2 },
};
const KiB = 2 ** 10;
const MiB = 2 ** 20;
const GiB = 2 ** 30;

const on = (vmid: number, base: number): NestedState => ({ vttbr: vttbrOf(vmid, base), vtcr: vtcrOf(V40), stage2: true });

/** Two contexts of VMID 1, one with stage 2 off, and one of VMID 2: indexes 0 to 3. */
const CURRENT = on(1, 0x8000_0000);
const GUESTS = [CURRENT, on(1, 0x9000_0000), stage2Off(1), on(2, 0x8000_0000)];
const OF_VMID_1 = [0, 1, 2];

function populated(subject: NestedSubject, options: BenchOptions = {}): NestedBench {
  const bench = new NestedBench(subject, { vcpus: 3, ...options });
  for (const guest of GUESTS) {
    bench.enter(0, guest);
    bench.shadow.put(0);
  }
  bench.host.drain();
  return bench;
}

/** What a TLBI that is carried out asks of the host. */
function asked(bench: NestedBench, name: string, operand = 0n, state = CURRENT): readonly Call[] {
  const outcome = bench.shadow.tlbi(state, name, operand);
  ensure('tlbi.done', outcome.kind === 'done', () => `TLBI ${name} is ${outcome.kind}`);
  return bench.host.drain();
}

const contextsOf = (calls: readonly Call[]): string => [...new Set(calls.map(({ context }) => context))].sort((a, b) => a - b).join();

/** Exactly these contexts are unmapped, each in exactly this range; ends beyond the input size do not count. */
function unmaps(assertion: string, bench: NestedBench, what: string, calls: readonly Call[], contexts: readonly number[], start: number, end: number): void {
  const limit = 2 ** bench.guest.paBits;
  ensure(assertion, contextsOf(calls) === contexts.join(), () => `${what} reaches contexts ${contextsOf(calls) || 'none'}, due ${contexts.join() || 'none'}`);
  for (const call of calls) {
    const same = call.did === 'unmap' && call.start === start && Math.min(call.end, limit) === Math.min(end, limit);
    ensure(assertion, same, () => `${what}: ${callText(call)}, due [${hex(start)}, ${hex(end)})`);
  }
}

const SHARE = ['', 'IS', 'OS'] as const;

function all(subject: NestedSubject): void {
  const bench = populated(subject);
  const limit = 2 ** bench.guest.paBits;
  for (const share of SHARE) {
    unmaps('tlbi.all', bench, `ALLE1${share}`, asked(bench, `ALLE1${share}`), [0, 1, 2, 3], 0, limit);
  }
}

function ofVmid(subject: NestedSubject): void {
  const bench = populated(subject);
  const limit = 2 ** bench.guest.paBits;
  for (const share of SHARE) {
    unmaps('tlbi.vmid', bench, `VMALLS12E1${share}`, asked(bench, `VMALLS12E1${share}`), OF_VMID_1, 0, limit);
    unmaps('tlbi.vmid', bench, `VMALLS12E1${share} of VMID 2`, asked(bench, `VMALLS12E1${share}`, 0n, GUESTS[3]), [3], 0, limit);
  }
}

/** Sizes by level hint; level 0, and a hint that has no such block, is the largest block that KVM knows. */
const HINTED: Readonly<Record<Granule, Readonly<Record<0 | 1 | 2 | 3, number>>>> = {
  '4K': { 0: GiB, 1: GiB, 2: 2 * MiB, 3: 4 * KiB },
  '16K': { 0: 32 * MiB, 1: 32 * MiB, 2: 32 * MiB, 3: 16 * KiB },
  '64K': { 0: 512 * MiB, 1: 512 * MiB, 2: 512 * MiB, 3: 64 * KiB },
};

const AT = 3 * GiB + 5 * MiB + 7 * 64 * KiB;
const aligned = (at: number, bytes: number): number => alignDown(at, Math.log2(bytes));

/** A bench with one context, of a granule, that nothing is mapped in. */
function single(subject: NestedSubject, granule: Granule, options: BenchOptions = {}): { readonly bench: NestedBench; readonly made: ReturnType<NestedBench['stage2']>; readonly context: number } {
  const bench = new NestedBench(subject, options);
  const made = bench.stage2(VTCRS[granule]);
  const context = bench.enter(0, made.state).index;
  bench.host.drain();
  return { bench, made, context };
}

function byHint(subject: NestedSubject): void {
  for (const granule of ['4K', '16K', '64K'] as const) {
    const { bench, made, context } = single(subject, granule);
    for (const level of [0, 1, 2, 3] as const) {
      const bytes = HINTED[granule][level];
      const start = aligned(AT, bytes);
      const calls = asked(bench, 'IPAS2E1IS', byIpa(AT, { granule, level }), made.state);
      unmaps('tlbi.ipa-hint', bench, `IPAS2E1IS of ${hex(AT)}, TTL level ${level} of ${granule}`, calls, [context], start, start + bytes);
    }
  }
}

const FEATURES: NestedGuest['features'] = { granules2: ['4K', '16K', '64K'], xnx: true, ttl: true, tlbirange: true, xs: true };

/** What the guest has not, its operands do not say. */
function hintWithoutFeature(subject: NestedSubject): void {
  const { bench, made, context } = single(subject, '4K', { guest: { features: { ...FEATURES, ttl: false } } });
  const calls = asked(bench, 'IPAS2E1IS', byIpa(AT, { granule: '4K', level: 3 }), made.state);
  const start = aligned(AT, GiB);
  unmaps('tlbi.ipa-hint-feature', bench, 'IPAS2E1IS with a TTL, without FEAT_TTL', calls, [context], start, start + GiB);
}

/** A block of the guest hypervisor's that the shadow has in pages, or a page beside it, and an operand without a hint. */
function byTag(subject: NestedSubject): void {
  for (const granule of ['4K', '16K', '64K'] as const) {
    for (const level of [1, 2, 3] as const) {
      if (level === 1 && granule !== '4K') continue;
      const { bench, made, context } = single(subject, granule);
      const bytes = entrySpan(granule, level);
      const start = aligned(AT, bytes);
      made.tables.map(start, level, bytes);
      // KVM looks at the addresses that are aligned to each size in turn: what is mapped there tells.
      bench.access(0, context, aligned(AT, entrySpan(granule, 3)), { type: 'read', privileged: true });
      bench.host.drain();
      const calls = asked(bench, 'IPAS2E1IS', byIpa(AT), made.state);
      unmaps('tlbi.ipa-tag', bench, `IPAS2E1IS where a level ${level} entry of ${granule} is shadowed`, calls, [context], start, start + bytes);
    }
  }
}

/** A tag found further down counts only where its span reaches the address. */
function tagThatDoesNotReach(subject: NestedSubject): void {
  const { bench, made, context } = single(subject, '4K');
  const start = aligned(AT, 2 * MiB);
  made.tables.map(start, 3, 0);
  bench.access(0, context, start, { type: 'read', privileged: true });
  bench.host.drain();
  const from = aligned(AT, GiB);
  unmaps('tlbi.ipa-tag-reach', bench, 'IPAS2E1IS beside a page', asked(bench, 'IPAS2E1IS', byIpa(AT), made.state), [context], from, from + GiB);
}

/** Nothing tells the size: the largest block. */
function withoutTag(subject: NestedSubject): void {
  for (const granule of ['4K', '16K', '64K'] as const) {
    const { bench, made, context } = single(subject, granule);
    const bytes = HINTED[granule][1];
    const start = aligned(AT, bytes);
    unmaps('tlbi.ipa-largest', bench, `IPAS2E1IS of ${granule} where nothing is mapped`, asked(bench, 'IPAS2E1IS', byIpa(AT), made.state), [context], start, start + bytes);
  }
}

function everyContext(subject: NestedSubject): void {
  const bench = populated(subject);
  for (const last of ['', 'L'] as const) {
    for (const share of SHARE) {
      const name = `IPAS2${last}E1${share}`;
      const calls = asked(bench, name, byIpa(AT, { granule: '4K', level: 3 }));
      const start = aligned(AT, 4 * KiB);
      unmaps('tlbi.ipa-every-context', bench, name, calls, OF_VMID_1, start, start + 4 * KiB);
    }
  }
}

function ranges(subject: NestedSubject): void {
  const bench = populated(subject);
  for (const granule of ['4K', '16K', '64K'] as const) {
    for (const [num, scale] of [[0, 0], [31, 0], [3, 1], [7, 2], [1, 3]] as const) {
      const pages = (num + 1) * 2 ** (5 * scale + 1);
      const start = 3 * GiB;
      const due = start + pages * entrySpan(granule, 3);
      const what = `RIPAS2E1IS of ${pages} pages of ${granule}`;
      unmaps('tlbi.range', bench, what, asked(bench, 'RIPAS2E1IS', byRange(start, { granule, num, scale })), OF_VMID_1, start, due);
    }
  }
  const reserved = asked(bench, 'RIPAS2LE1OS', byRange(GiB, { granule: '64K', num: 0, scale: 0, tg: 0 }));
  unmaps('tlbi.range-tg', bench, 'a range with a reserved TG', reserved, OF_VMID_1, GiB, GiB + 128 * KiB);
}

function rangeEnds(subject: NestedSubject): void {
  const bench = populated(subject, { guest: { paBits: 40 } });
  const last = 2 ** 40 - 64 * KiB;
  const calls = asked(bench, 'RIPAS2E1IS', byRange(last, { granule: '4K', num: 31, scale: 3 }));
  for (const call of calls) ensure('tlbi.range-clamped', call.did === 'unmap' && call.end <= 2 ** 40, () => `a range that leaves 40 bits: ${callText(call)}`);
  unmaps('tlbi.range-clamped', bench, 'a range that leaves the input size', calls, OF_VMID_1, last, 2 ** 40);
  const beyond = asked(bench, 'RIPAS2E1IS', byRange(2 ** 40, { granule: '4K', num: 0, scale: 0 }));
  ensure('tlbi.range-beyond', beyond.length === 0, () => `a range that begins beyond 40 bits: ${beyond.map(callText).join(', ')}`);
}

const STAGE1 = ['VMALLE1', 'VAE1', 'VALE1', 'VAAE1', 'VAALE1', 'ASIDE1', 'RVAE1', 'RVALE1', 'RVAAE1', 'RVAALE1'] as const;

function stage1(subject: NestedSubject): void {
  const bench = populated(subject);
  const operand = 0x1234_0000_5678n;
  for (const base of STAGE1) {
    for (const share of SHARE) {
      for (const xs of ['', 'NXS'] as const) {
        const calls = asked(bench, `${base}${share}${xs}`, operand);
        ensure('tlbi.stage1-alone', calls.every(({ did }) => did === 'stage1'), () => `${base}${share}${xs}: ${calls.map(callText).join(', ')}`);
        ensure('tlbi.stage1-every-context', contextsOf(calls) === OF_VMID_1.join(), () => `${base}${share}${xs} reaches contexts ${contextsOf(calls) || 'none'}, due ${OF_VMID_1.join()}`);
        for (const call of calls) {
          if (call.did !== 'stage1') continue;
          ensure('tlbi.stage1-upgrade', call.name === `${base}IS`, () => `${base}${share}${xs} is carried out as ${call.name}, due ${base}IS`);
          ensure('tlbi.stage1-operand', call.operand === operand, () => `${base}${share}${xs}: operand ${hex(call.operand)}, due ${hex(operand)}`);
        }
      }
    }
  }
}

function el2(subject: NestedSubject): void {
  const bench = populated(subject);
  for (const base of ['ALLE2', 'VAE2', 'VALE2', 'RVAE2', 'RVALE2']) {
    for (const share of SHARE) {
      const calls = asked(bench, `${base}${share}`, 0x1000n);
      ensure('tlbi.el2', calls.length === 0, () => `${base}${share}, of the guest hypervisor's own regime: ${calls.map(callText).join(', ')}`);
    }
  }
}

function undefinedForms(subject: NestedSubject): void {
  const lacking = (feature: Partial<NestedGuest['features']>, tlbios: boolean): NestedBench => populated(subject, { guest: { tlbios, features: { ...FEATURES, ...feature } } });
  const cases: readonly (readonly [string, NestedBench, readonly string[]])[] = [
    ['FEAT_TLBIRANGE', lacking({ tlbirange: false }, true), ['RIPAS2E1IS', 'RIPAS2LE1', 'RVAE1IS', 'RVAE2IS']],
    ['FEAT_TLBIOS', lacking({}, false), ['ALLE1OS', 'VMALLS12E1OS', 'IPAS2E1OS', 'RIPAS2E1OS', 'VAE1OS', 'VAE2OS']],
    ['FEAT_XS', lacking({ xs: false }, true), ['ALLE1ISNXS', 'VMALLS12E1NXS', 'IPAS2E1ISNXS', 'VAE1NXS', 'VAE2NXS']],
  ];
  for (const [feature, bench, names] of cases) {
    for (const name of names) {
      const outcome = bench.shadow.tlbi(CURRENT, name, 0n);
      ensure('tlbi.undefined', outcome.kind === 'refused' && outcome.id === 'tlbi.undefined', () => `TLBI ${name} without ${feature} is ${outcome.kind}`);
      ensure('tlbi.undefined', bench.host.drain().length === 0, () => `TLBI ${name} without ${feature} was carried out`);
    }
  }
  for (const name of ['VAE3IS', 'DSB', '', 'IPAS2E1ISIS']) {
    const outcome = populated(subject).shadow.tlbi(CURRENT, name, 0n);
    ensure('tlbi.unknown', outcome.kind === 'refused' && outcome.id === 'tlbi.unknown', () => `TLBI ${name} is ${outcome.kind}`);
  }
}

/** What the host does to every shadow at once. */
function wholeHost(subject: NestedSubject): void {
  const bench = populated(subject);
  const all = [0, 1, 2, 3];
  bench.shadow.unmapAll();
  unmaps('host.unmap', bench, 'memory that the host takes away', bench.host.drain(), all, 0, 2 ** bench.guest.paBits);
  bench.shadow.writeProtectAll();
  const protectedOnes = bench.host.drain();
  ensure('host.write-protect', contextsOf(protectedOnes) === all.join() && protectedOnes.every(({ did }) => did === 'write-protect'), () => `write protection: ${protectedOnes.map(callText).join(', ')}`);
  bench.shadow.flushAll();
  const flushed = bench.host.drain();
  ensure('host.flush', contextsOf(flushed) === all.join() && flushed.every(({ did }) => did === 'flush'), () => `a flush: ${flushed.map(callText).join(', ')}`);
}

/** A host that has one leaf of 1 GiB, mapped in one go. */
function blockOfHost(subject: NestedSubject): void {
  const { bench, made, context } = single(subject, '4K', { sizes: [4 * KiB, 2 * MiB, GiB], maps: flat(GiB) });
  made.tables.map(3 * GiB, 1, 4 * GiB);
  bench.access(0, context, AT, { type: 'read', privileged: true });
  bench.host.drain();
  unmaps('tlbi.ipa-tag', bench, 'IPAS2E1IS of a shadow block', asked(bench, 'IPAS2E1IS', byIpa(AT), made.state), [context], 3 * GiB, 4 * GiB);
}

export const tlbiLaws: readonly NestedLaw[] = [
  { name: 'tlbi.all', sentence: 'ALLE1 empties every context', check: all },
  { name: 'tlbi.vmid', sentence: 'VMALLS12E1 empties every context of the VMID, and no other', check: ofVmid },
  { name: 'tlbi.ipa-hint', sentence: 'a TTL hint gives the size of an invalidation by IPA', check: byHint },
  { name: 'tlbi.ipa-hint-feature', sentence: 'without FEAT_TTL it does not', check: hintWithoutFeature },
  { name: 'tlbi.ipa-tag', sentence: 'without a hint, the level that a shadow leaf notes does', check: byTag },
  { name: 'tlbi.ipa-tag', sentence: 'which may be that of a block', check: blockOfHost },
  { name: 'tlbi.ipa-tag-reach', sentence: 'where that entry reaches the address', check: tagThatDoesNotReach },
  { name: 'tlbi.ipa-largest', sentence: 'and else the largest block', check: withoutTag },
  { name: 'tlbi.ipa-every-context', sentence: 'an invalidation by IPA is of every context of the VMID', check: everyContext },
  { name: 'tlbi.range', sentence: 'range operations unmap their range', check: ranges },
  { name: 'tlbi.range-clamped', sentence: 'as far as it is inside the input size', check: rangeEnds },
  { name: 'tlbi.stage1', sentence: 'invalidations of stage 1 are carried out for every context of the VMID, broadcast and with XS', check: stage1 },
  { name: 'tlbi.el2', sentence: 'those of EL2 touch no shadow', check: el2 },
  { name: 'tlbi.undefined', sentence: 'what the guest has not is undefined', check: undefinedForms },
  { name: 'host.all', sentence: 'what the host does reaches every context', check: wholeHost },
];
