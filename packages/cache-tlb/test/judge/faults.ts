import { expandEffect } from '@granule/conformance';
import type { Effect, EffectSink, TlbiEffect, WriteEffect } from '@granule/contract';
import type { Level } from '@granule/geometry';

/** What becomes of an effect: the effects in its place. `before` is the one that came before it, as it was. */
export type Change = (effect: Effect, before: Effect | undefined) => readonly Effect[];

/** A sink that changes effects, single ones, on their way. */
export function changing(to: EffectSink, change: Change, span: (level: Level) => number): EffectSink {
  let before: Effect | undefined;
  return {
    effect(run) {
      for (const each of expandEffect(run, span)) {
        for (const instead of change(each, before)) {
          to.effect(instead);
        }
        before = each;
      }
    },
  };
}

type When = (effect: Effect, before: Effect | undefined) => boolean;

export const drop =
  (when: When): Change =>
  (effect, before) =>
    when(effect, before) ? [] : [effect];

export const alter =
  (when: When, to: (effect: Effect) => Effect): Change =>
  (effect, before) =>
    [when(effect, before) ? to(effect) : effect];

/** Invalidations by name, all of them by default. */
export const tlbi =
  (...ops: readonly string[]): When =>
  (effect) =>
    effect.type === 'tlbi' && (ops.length === 0 || ops.includes(effect.op));

/** DSBs of these domains, right after an invalidation of these names. */
export const dsbAfter =
  (...ops: readonly string[]): When =>
  (effect, before) =>
    effect.type === 'dsb' && before !== undefined && tlbi(...ops)(before, undefined);

export const dsbOf =
  (...domains: readonly string[]): When =>
  (effect) =>
    effect.type === 'dsb' && domains.includes(effect.domain);

export const alterTlbi = (ops: readonly string[], to: (effect: TlbiEffect) => TlbiEffect): Change =>
  alter(tlbi(...ops), (effect) => (effect.type === 'tlbi' ? to(effect) : effect));

/** The write that breaks an entry, its first half or the whole of break-before-make: an invalid entry is never seen. */
export function withoutBreak(isBreak: (effect: WriteEffect) => boolean): Change {
  let broken: WriteEffect | undefined;
  return (effect) => {
    if (effect.type !== 'write') {
      return [effect];
    }
    if (isBreak(effect)) {
      broken = effect;
      return [];
    }
    const old = broken?.table === effect.table && broken.index === effect.index ? broken.old : effect.old;
    broken = undefined;
    return [{ ...effect, old }];
  };
}

/** Everything from the first of these on waits until the first of those has passed. */
export function moveBehind(what: When, behind: When): Change {
  const kept: Effect[] = [];
  let passed = false;
  return (effect, before) => {
    if (!passed && what(effect, before)) {
      kept.push(effect);
      return [];
    }
    if (!passed && kept.length > 0 && behind(effect, before)) {
      passed = true;
      return [effect, ...kept.splice(0)];
    }
    return [effect];
  };
}
