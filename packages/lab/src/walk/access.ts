import { type Outcome, type RegimeRoot, done, refused } from '@granule/contract';

/** The access that a walk is for. */
export interface WalkAccess {
  /** Default `read`. */
  readonly type?: 'read' | 'write' | 'fetch';
  /** Exception level (privilege level) whose rights it has, one of the regime's; default the higher. Stage 2 alone: 0 or 1, default 1. */
  readonly el?: 0 | 1 | 2;
}

/** Exception levels whose accesses a regime translates, the higher last. */
const LEVELS: Readonly<Record<RegimeRoot['regime'], readonly number[]>> = {
  s2: [0, 1],
  el10: [0, 1],
  el20: [0, 2],
  el2: [2],
  pl10: [0, 1],
  pl2: [2],
};

/** `EL` or, with AArch32 names, `PL`. */
export function levelPrefix(regime: string): 'EL' | 'PL' {
  return regime.startsWith('pl') ? 'PL' : 'EL';
}

/** An access with everything decided. */
export type DecidedAccess = Required<WalkAccess>;

/** Refused: `walk.no-such-level`, for an exception level that the regime does not translate for. */
export function decideAccess(regime: string, { type = 'read', el }: WalkAccess): Outcome<DecidedAccess> {
  const levels = LEVELS[regime];
  const chosen = el ?? levels[levels.length - 1];
  if (!levels.includes(chosen)) {
    const prefix = levelPrefix(regime);
    const has = levels.map((level) => `${prefix}${level}`).join(' and ');
    return refused('walk.no-such-level', `Regime ${regime} translates for ${has}, not for ${prefix}${chosen}.`, 'DDI 0487 D8.1.2');
  }
  return done({ type, el: chosen as 0 | 1 | 2 });
}
