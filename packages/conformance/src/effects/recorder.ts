import type { Effect, EffectSink } from '@granule/contract';
import { effectText } from './text.js';

/** An effect sink that keeps what it is told. */
export interface Recorder extends EffectSink {
  readonly effects: readonly Effect[];
  /** Forgets everything, and answers what it was. */
  drain(): readonly Effect[];
}

export function recorder(): Recorder {
  let effects: Effect[] = [];
  return {
    get effects() {
      return effects;
    },
    effect(effect) {
      effects.push(effect);
    },
    drain() {
      const kept = effects;
      effects = [];
      return kept;
    },
  };
}

/** Why two lists of effects differ: undefined where they are the same, else one line that names the first difference. */
export function effectsDiffer(actual: readonly Effect[], expected: readonly Effect[]): string | undefined {
  for (let i = 0; i < Math.max(actual.length, expected.length); i++) {
    const a = i < actual.length ? fullText(actual[i]) : 'nothing';
    const b = i < expected.length ? fullText(expected[i]) : 'nothing';
    if (a !== b) {
      return `effect ${i} is "${i < actual.length ? effectText(actual[i]) : a}" and not "${
        i < expected.length ? effectText(expected[i]) : b
      }"`;
    }
  }
  return undefined;
}

/** Whether two lists of effects are the same, word by word. Expand both first ({@link expandAll}) to compare runs with single entries. */
export function sameEffects(actual: readonly Effect[], expected: readonly Effect[]): boolean {
  return effectsDiffer(actual, expected) === undefined;
}

function fullText(effect: Effect): string {
  return effect.type === 'write' ? `${effectText(effect)} ${effect.old.join()} ${effect.new.join()}` : effectText(effect);
}
