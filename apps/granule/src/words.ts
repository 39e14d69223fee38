import type { Granule, Level } from '@granule/geometry';
import { parseWord } from '@granule/geometry/bits';
import type { Features } from '@granule/contract';
import { CommandFailure } from './failures.js';

/** What people type, as values; anything else ends the verb with a sentence that names the option. */

export function granuleOf(text: string, option: string): Granule {
  const name = text.toUpperCase().replace(/(?:KB?|KIB)?$/, 'K');
  if (name === '4K' || name === '16K' || name === '64K') {
    return name;
  }
  throw new CommandFailure(`${option}: ${text} is not 4K, 16K or 64K.`);
}

export function levelOf(text: string, option: string): Level {
  if (/^(?:-1|[0-3])$/.test(text)) {
    return Number(text) as Level;
  }
  throw new CommandFailure(`${option}: ${text} is not a level from -1 to 3.`);
}

/** A number of bits or the like, decimal. */
export function countOf(text: string, option: string): number {
  if (/^\d{1,3}$/.test(text)) {
    return Number(text);
  }
  throw new CommandFailure(`${option}: ${text} is not a decimal number.`);
}

export function wordOf(text: string, option: string): bigint {
  const word = parseWord(text);
  if (word === undefined) {
    throw new CommandFailure(`${option}: ${text} is not a 64-bit number (0x… or decimal, _ between digits).`);
  }
  return word;
}

type FeatureName =
  'lpa' | 'lpa2' | 'lva' | 'ttst' | 'xnx' | 's2fwb' | 'ha' | 'hd' | 'hpds' | 'hpds2' | 'vmid16' | 'xs' | 'bti' | 'cnp' | 'bbm1' | 'bbm2';

const ALL = ['4K', '16K', '64K'] as const;

const FEATURES: Readonly<Record<FeatureName, Partial<Features>>> = {
  lpa: { lpa: true },
  lpa2: { lpa: true, lpa2Granules1: ALL, lpa2Granules2: ALL },
  lva: { lva: true },
  ttst: { ttst: true },
  xnx: { xnx: true },
  s2fwb: { s2fwb: true },
  ha: { haf: true },
  hd: { haf: true, hdbs: true },
  hpds: { hpds: true },
  hpds2: { hpds: true, hpds2: true },
  vmid16: { vmidBits: 16 },
  xs: { xs: true },
  bti: { bti: true },
  cnp: { cnp: true },
  bbm1: { bbm: 1 },
  bbm2: { bbm: 2 },
};

export const FEATURE_NAMES = Object.keys(FEATURES).join(', ');

/** `lpa2,ha,…` */
export function featuresOf(text: string, option: string): Partial<Features> {
  const names = text === '' || text === 'none' ? [] : text.split(',');
  const unknown = names.find((name) => !Object.hasOwn(FEATURES, name));
  if (unknown !== undefined) {
    throw new CommandFailure(`${option}: ${unknown} is not one of ${FEATURE_NAMES}.`);
  }
  return Object.assign({}, ...names.map((name) => FEATURES[name as FeatureName])) as Partial<Features>;
}

/** The ARMv8 backend is the only one so far. */
export function requireArmv8(arch: string, verb: string): void {
  if (arch === 'armv7-lpae') {
    throw new CommandFailure(`${verb}: ARMv7 LPAE is not modelled yet.`, 1);
  }
  if (arch !== 'armv8') {
    throw new CommandFailure(`--arch: ${arch} is not armv8 or armv7-lpae.`);
  }
}
