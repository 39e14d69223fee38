import type { Backend, FaultValue, Features, NotModelled } from '@granule/contract';
import { done, NO_FEATURES, notModelled, refused } from '@granule/contract';
import { fakeFormat } from './format.js';
import { CLAUSE } from './layout.js';

const FEATURES: Features = { ...NO_FEATURES, paBits: 44, granules1: ['4K', '16K', '64K'], granules2: ['4K', '16K', '64K'], xnx: true };

const nothing = (what: string): (() => NotModelled) => {
  const answer = notModelled(`fake.${what}`, `The fake backend has no ${what}.`, CLAUSE);
  return () => answer;
};

const FAULT_TYPES: readonly FaultValue['type'][] = [
  'permission',
  'translation',
  'address-size',
  'access-flag',
  'alignment',
  'external-abort-on-walk',
  'external-abort',
  'unsupported-atomic-update',
  'tlb-conflict',
];

/** 6 bits: five codes a type, one a level. */
function statusCode(fault: FaultValue): number {
  return FAULT_TYPES.indexOf(fault.type) * 5 + fault.level + 1;
}

/**
 * A backend that is legal by the contract and like no machine: its descriptors share no bit with Arm's and its leaf types change with the
 * level. Code that knows the contract alone runs on it; code that assumes Arm's bits, or passes the wrong level, does not. It has no
 * registers and no instructions.
 */
export const fake: Backend = {
  contract: 1,
  name: 'fake',
  regimes: ['s2', 's1'],
  format(regime, config) {
    if (regime !== 's1' && regime !== 's2') {
      return refused('format.regime', `The regime ${regime} is not one of the fake backend's (s2, s1).`, CLAUSE);
    }
    if (config.geometry.stage !== (regime === 's1' ? 1 : 2)) {
      return refused('format.stage', `The regime ${regime} does not go with a geometry of stage ${config.geometry.stage}.`, CLAUSE);
    }
    if (config.upper === true && regime === 's2') {
      return refused('format.upper', 'Stage 2 has one input range and no upper one.', CLAUSE);
    }
    return done(fakeFormat(regime, config));
  },
  registers: {
    names: [],
    layout: () => undefined,
    explain: nothing('registers'),
    decode: nothing('registers'),
    encode: nothing('registers'),
    features: () => FEATURES,
    encodeStage2: nothing('registers'),
    roots: nothing('registers'),
  },
  instructions: { names: [], encode: nothing('instructions'), decode: nothing('instructions'), explain: nothing('instructions') },
  faults: { par: (fault) => 1n | (BigInt(statusCode(fault)) << 1n), statusCode },
};
