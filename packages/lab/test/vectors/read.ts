import { readFileSync } from 'node:fs';
import type { CaseMachine, TranslationCase } from '@granule/contract';
import { bytesSource } from '@granule/memory';
import { inflate, readCases, readMachines } from '@granule/snapshot';
import { expect } from 'vitest';

const bytesOf = (name: string): Uint8Array => readFileSync(new URL(name, import.meta.url));

function done<T>(outcome: { readonly kind: string; readonly value?: T }): T {
  expect(outcome).toMatchObject({ kind: 'done' });
  return outcome.value as T;
}

/** The machines of the recorded translations. */
export function recordedMachines(): ReadonlyMap<string, CaseMachine> {
  const read = (name: string): ReadonlyMap<string, CaseMachine> => done(readMachines(new TextDecoder().decode(bytesOf(name))));
  return new Map([...read('machines.json'), ...read('other-machines.json')]);
}

/** The cases of one family of recorded translations. */
export function recordedCases(family: string): readonly TranslationCase[] {
  const plain = done(inflate(bytesSource(bytesOf(`${family}.jsonl.gz`))));
  const bytes = new Uint8Array(plain.size);
  plain.read(0, bytes);
  return done(readCases(new TextDecoder().decode(bytes)));
}

export const FAMILIES = ['s1', 's1-perm', 's1-range', 's2', 'two-stage', 'attr', 'lpa', 'hyp', 'a32', 'abort', 'other'] as const;
