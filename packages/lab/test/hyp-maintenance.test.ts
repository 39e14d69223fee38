import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { violationText, type Violation } from '@granule/cache-tlb';
import { effectText } from '@granule/conformance';
import { DONE, type Effect } from '@granule/contract';
import { DownwardVa, HYP_POLICIES, hypAddress, hypLayout, HypMappings, type HypPolicy, type PrivateVa, SharedPages, UpwardVa } from '@granule/kvm';
import { describe, expect, it } from 'vitest';
import { must, random, Rig, type Setup } from './maintenance-rig.js';

/**
 * What KVM does to EL2's own table, under the adversarial TLB, while EL2 runs on two PEs: objects mapped one by one, private addresses, stacks, devices; and where
 * the policy unmaps at all, pages shared and shared no more, and addresses that stand for one page after the other.
 */
const RUNS = Number(process.env['GRANULE_POLICY_RUNS'] ?? 6);
const SEED = Number(process.env['GRANULE_POLICY_SEED'] ?? 5);
const LENGTH = 40;

const RAM = 2 ** 30;
const IDMAP = 0x4072_0000;
/** Of RAM: EL2's own, what the kernel has, what it shares. */
const [OBJECTS, SHARED] = [RAM + 2 ** 26, RAM + 2 ** 27];
/** Where pKVM's private addresses begin, and a slot of its fixmap. */
const [IO_BASE, FIXMAP] = [0x5000_0000, 0x5fff_0000];
const KINDS = ['code', 'data', 'rodata'] as const;

interface HypSetup extends Setup {
  readonly policy: HypPolicy;
}

const EL2 = { backend: armv8, regime: 'el2', granule: '4K', iaBits: 39, startLevel: 1, features: { ttl: true } } as const;
const PL2 = { backend: armv7Lpae, regime: 'pl2', granule: '4K', iaBits: 32, startLevel: 1, features: {} } as const;
const EL2_16K = { ...EL2, granule: '16K', iaBits: 36, startLevel: 2 } as const;
const SETUPS: readonly (readonly [string, HypSetup])[] = [
  ['as in 2016, 4K', { ...EL2, policy: HYP_POLICIES['per-object-2016'] }],
  ['as in 2016, ARMv7', { ...PL2, policy: HYP_POLICIES['per-object-2016'] }],
  ['nVHE, 4K', { ...EL2, policy: HYP_POLICIES.nvhe }],
  ['nVHE, 16K', { ...EL2_16K, policy: HYP_POLICIES.nvhe }],
  ['nVHE with its linear map up front, 4K', { ...EL2, policy: HYP_POLICIES['nvhe-linear'] }],
  ['pKVM, 4K', { ...EL2, policy: HYP_POLICIES.pkvm }],
  ['pKVM, 4K, no level hints', { ...EL2, features: {}, policy: HYP_POLICIES.pkvm }],
  ['pKVM, 16K', { ...EL2_16K, policy: HYP_POLICIES.pkvm }],
];
const UNFLUSHED: HypSetup = { ...EL2, policy: HYP_POLICIES['unmap-without-flush'] };

class HypBench {
  readonly rig: Rig;
  readonly hyp: HypMappings;
  readonly shared: SharedPages;
  readonly page: number;
  readonly did: string[] = [];
  readonly #linear: (physical: number) => number;

  constructor(
    readonly setup: HypSetup,
    readonly next: () => number,
  ) {
    const { granule, iaBits, policy } = setup;
    const pageShift = { '4K': 12, '16K': 14, '64K': 16 }[granule];
    this.page = 2 ** pageShift;
    const layout = must(hypLayout({ vaBits: iaBits, idmap: IDMAP, linear: { start: 0, end: 2 ** 28 } }));
    this.#linear = (physical) => hypAddress(layout, physical - RAM);
    const places = [0, 1, 2, 5].flatMap((page) => [OBJECTS, SHARED].map((start) => this.#linear(start + page * this.page)));
    const privates = [1, 2, 3, 6].flatMap((page) => [IDMAP - page * this.page, IO_BASE + (page - 1) * this.page]);
    this.rig = new Rig(setup, [...places, ...privates, IDMAP, FIXMAP, this.#linear(RAM)], next);
    const privateVa: PrivateVa = policy.name === 'pkvm' ? new UpwardVa(IO_BASE, FIXMAP, pageShift) : new DownwardVa(layout, pageShift);
    this.hyp = new HypMappings({ policy, layout, linearOffset: RAM, table: this.rig.table, privateVa });
    this.shared = new SharedPages({
      share: (pfn) => this.hyp.mapAt(this.#linear(pfn * this.page), this.page, pfn * this.page, 'data'),
      unshare: (pfn) => {
        const bytes = this.hyp.unmap(this.#linear(pfn * this.page), this.page);
        return bytes.kind === 'done' ? DONE : bytes;
      },
    }, pageShift);
  }

  boot(): void {
    const { hyp, setup } = this;
    this.#do('boot', () => {
      must(hyp.mapIdmap(IDMAP, IDMAP + 0x100));
      if (setup.policy.linearMap === 'up-front') must(hyp.mapLinear(RAM, RAM + 2 ** 25));
    });
  }

  step(): void {
    const { hyp, page, setup, next } = this;
    const pick = (count: number): number => Math.floor(next() * count);
    const somewhere = RAM + 2 ** 28 + pick(64) * page;
    const kind = KINDS[pick(3)];
    const actions: Record<string, () => unknown> = {
      object: () => { const start = OBJECTS + pick(6) * page; return hyp.mapObject(start, start + (1 + pick(2)) * page, kind); },
      private: () => hyp.mapPrivate(somewhere + pick(2) * 16, page, kind),
      stack: () => hyp.createStack(somewhere, page),
      io: () => hyp.mapIo(2 ** 27 + pick(4) * page, 0x900_0000 + pick(4) * page, page),
      ...(setup.policy.unmaps && this.#unmapping(pick, somewhere)),
    };
    const names = Object.keys(actions);
    const name = names[pick(names.length)];
    this.#do(name, actions[name]);
  }

  #unmapping(pick: (count: number) => number, somewhere: number): Record<string, () => unknown> {
    const { hyp, page, shared } = this;
    const start = SHARED + pick(6) * page;
    const end = start + (1 + pick(2)) * page;
    return {
      share: () => shared.share(start, end),
      unshare: () => shared.unshare(start, end),
      fixmap: () => { hyp.unmap(FIXMAP, page); return hyp.mapAt(FIXMAP, page, somewhere, 'data'); },
    };
  }

  #do(name: string, work: () => unknown): void {
    this.did.push(name);
    this.rig.host(() => void work());
  }
}

interface Found {
  readonly bench: HypBench;
  readonly seen: string | undefined;
  readonly violations: readonly Violation[];
}

function run(setup: HypSetup, seed: number): Found {
  const bench = new HypBench(setup, random(seed));
  try {
    bench.boot();
    for (let i = 0; i < LENGTH; i += 1) bench.step();
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes('the tables said')) throw error;
    return { bench, seen: error.message, violations: bench.rig.judge.verdict().violations };
  }
  const { violations } = bench.rig.judge.finish();
  // Nobody translates by it any more, and so nothing is invalidated for it.
  bench.rig.destroy(() => bench.hyp.teardown());
  return { bench, seen: undefined, violations: [...violations, ...bench.rig.judge.finish().violations.slice(violations.length)] };
}

function complaint({ bench: { rig, did }, seen, violations }: Found): string | undefined {
  if (seen === undefined && violations.length === 0) return undefined;
  const last = rig.log.map((each, i) => `${i + 1} PE ${'pe' in each ? each.pe : '-'} ${effectText(each)}`).slice(-40);
  return [seen, ...violations.map(violationText), did.join(', '), ...last].join('\n');
}

const runs = (setup: HypSetup, count: number): readonly Found[] => Array.from({ length: count }, (_, i) => run(setup, SEED * 1000 + i));

describe(`what is done to EL2's table is clean under the adversarial TLB (GRANULE_POLICY_SEED=${SEED})`, () => {
  it.each(SETUPS)('%s', (_, setup) => {
    const found = runs(setup, RUNS);
    expect(found.map(complaint).filter((each) => each !== undefined)).toEqual([]);
    const invalidated = found.some(({ bench }) => bench.rig.log.some((each) => each.type === 'tlbi'));
    expect(invalidated).toBe(setup.policy.unmaps);
  }, 60_000);
});

describe('hyp mappings that are unmapped without a TLB flush', () => {
  it('are found at the descriptor that went, and EL2 goes where it led', () => {
    const found = runs(UNFLUSHED, 12);
    expect(found.some(({ seen }) => seen !== undefined)).toBe(true);
    const [first] = found.flatMap(({ bench, violations }) => violations.slice(0, 1).map((violation) => ({ log: bench.rig.log, violation })));
    expect(first.violation.rule.id).toMatch(/^(?:tlbi\.missing|table\.freed-in-use)$/);
    const blamed: Effect = first.log[first.violation.cause - 1];
    expect(blamed).toMatchObject({ type: 'write', address: first.violation.address });
    expect(blamed.type === 'write' && [...blamed.new]).toEqual([0, 0]);
  });
});
