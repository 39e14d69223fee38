import type { AccessType } from '@granule/contract';

/** One access, as translation sees it. Make it once and use it for many addresses. */
export interface Access {
  /** `el10 el20 el2` (ARMv8), `pl10 pl2` (ARMv7). */
  readonly regime: string;
  readonly type: AccessType;
  /** Made with the rights of EL1 or EL2 (PL1, PL2); false: with those of EL0, whoever makes it. */
  readonly privileged: boolean;
  /** PSTATE.PAN applies: privileged data accesses, and the AT operations that ask for it. */
  readonly pan?: boolean;
  /** `one`: stage 1 alone, as AT S1E1R and its like; the stage-1 walk still goes through stage 2. Default `both`, where there are two. */
  readonly stages?: 'one' | 'both';
}

/** What the walker asks of an access, decided once. */
export interface AccessTraits {
  readonly fetch: boolean;
  readonly write: boolean;
  /** An address translation instruction or cache maintenance: it updates no leaf of its own. */
  readonly silent: boolean;
}

const TRAITS: Readonly<Record<AccessType, AccessTraits>> = {
  read: { fetch: false, write: false, silent: false },
  write: { fetch: false, write: true, silent: false },
  fetch: { fetch: true, write: false, silent: false },
  'cache-maintenance': { fetch: false, write: false, silent: true },
  'at-read': { fetch: false, write: false, silent: true },
  'at-write': { fetch: false, write: true, silent: true },
};

export function traitsOf(type: AccessType): AccessTraits {
  return TRAITS[type];
}
