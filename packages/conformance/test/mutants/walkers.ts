/** One thing that a walker does wrong, and the assertion that must say so. */
export interface WalkerMutant {
  readonly fault: string;
  readonly caughtBy: string;
}

export const WALKER_MUTANTS = [
  { fault: 'offset-forgotten', caughtBy: 'walk.output' },
  { fault: 'offset-of-a-page', caughtBy: 'walk.output' },
  { fault: 'output-low-half-only', caughtBy: 'walk.output' },
  { fault: 'top-output-bits-forgotten', caughtBy: 'walk.output' },
  { fault: 'one-entry-table-alone', caughtBy: 'walk.found' },
  { fault: 'starts-a-level-late', caughtBy: 'walk.found' },
  { fault: 'index-one-bit-short', caughtBy: 'walk.found' },
  { fault: 'last-entry-wraps', caughtBy: 'walk.found' },
  { fault: 'no-blocks', caughtBy: 'walk.found' },
  { fault: 'input-size-ignored', caughtBy: 'walk.translation' },
  { fault: 'annotation-is-a-leaf', caughtBy: 'walk.translation' },
  { fault: 'remembers-a-leaf', caughtBy: 'walk.access-flag' },
  { fault: 'access-flag-ignored', caughtBy: 'walk.access-flag' },
  { fault: 'permission-before-access-flag', caughtBy: 'walk.access-flag' },
  { fault: 'writes-always', caughtBy: 'walk.rights' },
  { fault: 'fetch-is-a-read', caughtBy: 'walk.permission' },
  { fault: 'user-is-privileged', caughtBy: 'walk.permission' },
  { fault: 'execute-bits-swapped', caughtBy: 'walk.rights' },
  { fault: 'rights-of-the-access-alone', caughtBy: 'walk.rights' },
  { fault: 'one-privilege-level', caughtBy: 'walk.privileges' },
  { fault: 'hierarchy-ignored', caughtBy: 'walk.rights' },
  { fault: 'type-of-the-default', caughtBy: 'walk.memory' },
  { fault: 'shareability-lost', caughtBy: 'walk.shareability' },
  { fault: 'leaf-level-off-by-one', caughtBy: 'walk.level' },
  { fault: 'faults-at-the-last-level', caughtBy: 'walk.fault-level' },
  { fault: 'faults-a-level-early', caughtBy: 'walk.fault-level' },
  { fault: 'fault-of-the-other-stage', caughtBy: 'walk.fault-stage' },
  { fault: 'every-fault-is-a-read', caughtBy: 'walk.fault-access' },
  { fault: 'fault-address-of-the-page', caughtBy: 'walk.fault-address' },
  { fault: 'address-size-ignored', caughtBy: 'walk.address-size' },
  { fault: 'no-memory-is-no-entry', caughtBy: 'walk.external-abort-on-walk' },
] as const satisfies readonly WalkerMutant[];

export type WalkerFault = (typeof WALKER_MUTANTS)[number]['fault'];
