import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import type { Backend } from '@granule/contract';
import { CommandFailure } from './failures.js';

/** The backends that the command hands to the libraries, by architecture. */
export const BACKENDS = { armv8, 'armv7-lpae': armv7Lpae } as const;
export type Architecture = keyof typeof BACKENDS;

export const ARCHITECTURES = Object.keys(BACKENDS).join(' or ');

/** The backend of `--arch`. */
export function backendOf(arch: string): Backend {
  if (!Object.hasOwn(BACKENDS, arch)) {
    throw new CommandFailure(`--arch: ${arch} is not ${ARCHITECTURES}.`);
  }
  return BACKENDS[arch as Architecture];
}
