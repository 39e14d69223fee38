import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { violationText, type Violation } from '@granule/cache-tlb';
import { effectText } from '@granule/conformance';
import type { Effect } from '@granule/contract';
import type { InvalidationPolicy } from '@granule/kvm';
import { describe, expect, it } from 'vitest';
import { random } from './maintenance-rig.js';
import { act } from './policy-actions.js';
import { PolicyBench } from './policy-bench.js';
import { PolicyRig, type PolicySetup } from './policy-rig.js';

/**
 * VMs come and go on a machine of two PEs with three VMIDs: each is made, runs, has its host at work, and is torn down without a TLBI; its table pages and its VMID go
 * to the next ones, whose memory is elsewhere. What is left in a TLB of a VM that is gone would show as an access that finds what the tables never said.
 */
const RUNS = Number(process.env['GRANULE_POLICY_RUNS'] ?? 3);
const SEED = Number(process.env['GRANULE_POLICY_SEED'] ?? 5);
const LENGTH = 120;
const PLACES = 3;

const VMIDS = { vmidBits: 2 } as const;
const A76 = { ttl: true, vmidBits: 8, paBits: 40 } as const;
const RANGES = { ...A76, s2fwb: true, tlbirange: true } as const;
const setup = (invalidation: InvalidationPolicy, features: PolicySetup['features'] = A76): PolicySetup =>
  ({ name: [invalidation, ...Object.keys(features).filter((each) => !(each in A76))].join(' '), backend: armv8, granule: '4K', kernel: '7.2', features, options: { invalidation }, ...VMIDS });

class Fleet {
  readonly bench: PolicyBench;
  readonly done: string[] = [];
  made = 0;

  constructor(
    readonly kind: PolicySetup,
    readonly next: () => number,
    lost?: (effect: Effect) => boolean,
  ) {
    this.bench = new PolicyBench(kind, next, lost);
  }

  step(): void {
    const { bench, next } = this;
    const pe = Math.floor(next() * 2);
    const running = bench.running[pe];
    const chance = next();
    if (running === undefined) this.#enter(pe);
    else if (chance < 0.5) running.touch(pe);
    else if (chance < 0.75) this.done.push(act(running, pe, Math.floor(next() * 2)));
    else if (chance < 0.88) running.leave(pe);
    else this.#end(running, pe);
  }

  #enter(pe: number): void {
    const { bench, next, kind } = this;
    const places = Array.from({ length: PLACES }, (_, place) => place).filter((place) => bench.vms.every((each) => each.place !== place));
    const idle = bench.vms.filter((each) => !bench.running.includes(each));
    if (places.length > 0 && (idle.length === 0 || next() < 0.5)) {
      this.made += 1;
      new PolicyRig(kind, next, bench, places[0], this.made).enter(pe);
    } else idle[Math.floor(next() * idle.length)]?.enter(pe);
  }

  #end(vm: PolicyRig, pe: number): void {
    vm.end(pe);
    this.done.push('teardown');
  }
}

interface Found {
  readonly fleet: Fleet;
  /** What a guest found that the tables never said. */
  readonly seen: string | undefined;
  readonly violations: readonly Violation[];
}

function run(kind: PolicySetup, seed: number, lost?: (effect: Effect) => boolean): Found {
  const fleet = new Fleet(kind, random(seed), lost);
  try {
    for (let i = 0; i < LENGTH; i += 1) fleet.step();
    for (const vm of [...fleet.bench.vms]) vm.end(0);
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes('the tables said')) throw error;
    return { fleet, seen: error.message, violations: fleet.bench.judge.finish().violations };
  }
  return { fleet, seen: undefined, violations: fleet.bench.judge.finish().violations };
}

/** What is wrong with a run that should be clean, with what came before. */
function complaint({ fleet, seen, violations }: Found): string | undefined {
  if (seen === undefined && violations.length === 0) return undefined;
  const { log } = fleet.bench;
  const last = log.map((each, i) => `${i + 1} PE ${'pe' in each ? each.pe : '-'} ${effectText(each)}`).slice(-40);
  return [seen, ...violations.map(violationText), fleet.done.join(', '), ...last].join('\n');
}

const CLEAN: readonly PolicySetup[] = [
  setup('each'), setup('deferred', RANGES), setup('vm-wide', { ...A76, s2fwb: true }), setup('deferred', { ...RANGES, haf: true }),
  { name: 'armv7-lpae', backend: armv7Lpae, granule: '4K', kernel: '4.8', features: {}, ...VMIDS },
];

describe(`a teardown without TLBI is clean, its VMID and its table pages used again (GRANULE_POLICY_SEED=${SEED})`, () => {
  it.each(CLEAN.map((kind) => [kind.name, kind] as const))('%s', (_, kind) => {
    const found = Array.from({ length: RUNS }, (_, i) => run(kind, SEED * 1000 + i));
    expect(found.map(complaint).filter((each) => each !== undefined)).toEqual([]);
    // VMIDs came to a second VM, and to a third.
    expect(Math.min(...found.map(({ fleet }) => fleet.bench.vmids.generation))).toBeGreaterThan(2);
    expect(Math.min(...found.map(({ fleet }) => fleet.made))).toBeGreaterThan(3);
  }, 60_000);
});

/** The first violation of the first run that has one, with the events that the verdict names. */
function firstOf(found: readonly Found[]) {
  const [first] = found.flatMap(({ fleet, violations }) => violations.slice(0, 1).map((violation) => ({ log: fleet.bench.log, violation })));
  const { rule, cause, exposed, address } = first.violation;
  return { rule: rule.id, address, cause, blamed: first.log[cause - 1], exposing: first.log[exposed - 1] };
}

describe('what is not clean is found at the first event that matters', () => {
  const runs = (kind: PolicySetup, lost?: (effect: Effect) => boolean): readonly Found[] => Array.from({ length: 10 }, (_, i) => run(kind, SEED * 1000 + i, lost));

  it('a VMID that is given to the next VM, and nothing was invalidated: its last table was taken out of use, the next one came into force', () => {
    const found = runs(setup('each'), (effect) => effect.type === 'tlbi' && effect.op === 'ALLE1IS');
    expect(found.some(({ seen }) => seen !== undefined)).toBe(true);
    const { rule, blamed, exposing } = firstOf(found);
    expect(rule).toBe('context.vmid-reuse');
    if (blamed.type !== 'context-retired' || exposing.type !== 'context-installed') throw new Error(`${effectText(blamed)}, ${effectText(exposing)}`);
    expect(exposing.vmid).toBe(blamed.vmid);
  });

  it('unmapping without invalidation: the descriptor that went', () => {
    const { rule, blamed, address } = firstOf(runs(setup('elided')));
    expect(rule).toBe('tlbi.missing');
    if (blamed.type !== 'write') throw new Error(effectText(blamed));
    expect([blamed.address, ...blamed.new]).toEqual([address, 0, 0]);
    expect(blamed.old[0] % 2).toBe(1);
  });
});
