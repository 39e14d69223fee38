import { armv8 } from '@granule/armv8';
import { nestedCounterexample, runNestedSteps, WORLD_GUESTS, type Counterexample, type NestedStep, type NestedSubject } from '@granule/conformance';
import { done, type HostStage2, type NestedLayer, type ShadowStage2 } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { nestedLayer } from '../src/index.js';

/** A host that is asked to unmap by one TLBI in several contexts, and does it in the first alone. */
const forgetful: NestedLayer = {
  name: 'a TLBI by VMID that forgets all contexts but one',
  open({ host, ...options }) {
    let [inTlbi, unmapped] = [false, 0];
    const deaf: HostStage2 = {
      add: (context) => host.add(context),
      unmap: (context, start, end) => {
        unmapped += 1;
        if (!inTlbi || unmapped === 1) host.unmap(context, start, end);
      },
      writeProtect: (context) => { host.writeProtect(context); },
      flush: (context) => { host.flush(context); },
      leaf: (context, ipa) => host.leaf(context, ipa),
      invalidateStage1: (context, name, operand) => { host.invalidateStage1(context, name, operand); },
    };
    const opened = nestedLayer().open({ ...options, host: deaf });
    if (opened.kind !== 'done') return opened;
    const tlbi: ShadowStage2['tlbi'] = (...asked) => {
      [inTlbi, unmapped] = [true, 0];
      const outcome = opened.value.tlbi(...asked);
      inTlbi = false;
      return outcome;
    };
    return done(new Proxy(opened.value, {
      get(target, name) {
        const own: unknown = name === 'tlbi' ? tlbi : Reflect.get(target, name, target);
        return typeof own === 'function' ? (own as (...args: unknown[]) => unknown).bind(target) : own;
      },
    }));
  },
};

const PAGES = { granule: '4K', hostGranule: '4K' } as const;

function search(layer: NestedLayer, runs: number, seed = 6): Counterexample | undefined {
  return nestedCounterexample({ layer, backend: armv8 }, PAGES, { runs, seed });
}

/** Every step that the search may make of two pages, two tables and the guests on them, with accesses of one kind. */
const ALPHABET: readonly NestedStep[] = [
  ...[0, 1].flatMap((vcpu) => [0, 1, 2].map((guest): NestedStep => ({ step: 'enter', vcpu, guest }))),
  ...[0, 1].map((vcpu): NestedStep => ({ step: 'access', vcpu, place: 0, access: { type: 'read', privileged: true } })),
  ...[0, 1].map((table): NestedStep => ({ step: 'change', table, place: 0, target: undefined })),
  { step: 'tlbi', kind: 'vmid', guest: 0, place: 0 },
];

/** A step that may do something after these: vCPU 0 enters first, and a vCPU that runs no guest accesses nothing. */
function matters(step: NestedStep, before: readonly NestedStep[]): boolean {
  if (before.length === 0) return step.step === 'enter' && step.vcpu === 0;
  return step.step !== 'access' || before.some((each) => each.step === 'enter' && each.vcpu === step.vcpu);
}

/** Whether any sequence of this many steps goes wrong. */
function anyOf(length: number, subject: NestedSubject, before: readonly NestedStep[] = []): boolean {
  if (length === 0) return runNestedSteps(subject, PAGES, before) !== undefined;
  return ALPHABET.some((step) => matters(step, before) && anyOf(length - 1, subject, [...before, step]));
}

/** Steps by what they are, so that a counterexample is told from others by its shape. */
const shape = ({ steps }: Counterexample): string => steps.map(({ step }) => step).join(' ');
const guestsOf = ({ steps }: Counterexample): readonly number[] => [...new Set(steps.flatMap((step) => (step.step === 'enter' ? [step.guest] : [])))];

describe('the ways to find a context', () => {
  const vmid = search(nestedLayer({ key: 'vmid' }), 400);
  const unmapping = search(nestedLayer({ key: 'vmid-unmap-on-baddr' }), 400);

  it('by VMID alone: two guests of one VMID on two tables reach each other’s memory', () => {
    expect(vmid?.assertion).toBe('composition.address');
    expect(vmid?.steps).toHaveLength(4);
    expect(guestsOf(vmid!).map((guest) => WORLD_GUESTS[guest].vmid)).toEqual([1, 1]);
    expect(vmid?.sentences.at(-1)).toMatch(/^It reaches page \d; its stage 2 says page \d\.$/);
  });

  it('by VMID, unmapped where BADDR changes: they still do, at once on two vCPUs', () => {
    expect(unmapping?.assertion).toBe('composition.address');
    expect(unmapping?.steps).toHaveLength(4);
    const vcpus = unmapping!.steps.flatMap((step) => ('vcpu' in step ? [step.vcpu] : []));
    expect(new Set(vcpus).size).toBe(2);
    expect(shape(unmapping!)).toMatch(/access$/);
    expect(guestsOf(unmapping!).map((guest) => WORLD_GUESTS[guest].vmid)).toEqual([1, 1]);
  });

  it('there is nothing shorter for either', () => {
    for (const key of ['vmid', 'vmid-unmap-on-baddr'] as const) {
      const subject: NestedSubject = { layer: nestedLayer({ key }), backend: armv8, budget: { runs: 1 } };
      expect(anyOf(3, subject), key).toBe(false);
    }
  });

  it('by VTTBR and VTCR: nothing is found', () => {
    expect(search(nestedLayer(), 300)).toBeUndefined();
  });
});

describe('a TLBI by VMID that forgets one of several contexts', () => {
  it('leaves a guest what its table no longer says', () => {
    const found = search(forgetful, 400);
    expect(found?.assertion).toBe('composition.address');
    expect(found?.steps).toHaveLength(6);
    expect(shape(found!)).toMatch(/change .*tlbi .*access$/);
    expect(found?.sentences.at(-1)).toMatch(/^It reaches page \d; its stage 2 says nothing\.$/);
  });
});
