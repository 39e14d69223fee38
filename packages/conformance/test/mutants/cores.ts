/** One thing that a page-table core does wrong, and the assertion that must say so. */
export interface CoreMutant {
  readonly fault: string;
  readonly caughtBy: string;
}

export const CORE_MUTANTS = [
  { fault: 'count-not-dropped', caughtBy: 'unmap.counts' },
  { fault: 'empty-tables-stay', caughtBy: 'unmap.empty-table' },
  { fault: 'unmap-whole-blocks', caughtBy: 'unmap.contents' },
  { fault: 'unmap-keeps-annotations', caughtBy: 'unmap.contents' },
  { fault: 'kind-of-next-level', caughtBy: 'lookup.entry' },
  { fault: 'block-alignment', caughtBy: 'map.contents' },
  { fault: 'overwrites', caughtBy: 'map.outcome' },
  { fault: 'annotation-stays', caughtBy: 'map.contents' },
  { fault: 'rest-of-block-lost', caughtBy: 'map.contents' },
  { fault: 'split-loses-af', caughtBy: 'split.contents' },
  { fault: 'split-repeats-output', caughtBy: 'split.contents' },
  { fault: 'split-one-level-short', caughtBy: 'split.contents' },
  { fault: 'merge-ignores-attributes', caughtBy: 'merge.contents' },
  { fault: 'merge-ignores-alignment', caughtBy: 'merge.contents' },
  { fault: 'merge-answers-zero', caughtBy: 'merge.answer' },
  { fault: 'first-leaf-only', caughtBy: 'write-protect.contents' },
  { fault: 'age-always-clears', caughtBy: 'age.contents' },
  { fault: 'age-answers-the-opposite', caughtBy: 'age.answer' },
  { fault: 'relax-adds-write', caughtBy: 'relax.contents' },
  { fault: 'end-rounded-from-the-byte', caughtBy: 'unmap.contents' },
  { fault: 'refused-half-done', caughtBy: 'map.refused-changes-nothing' },
  { fault: 'freed-page-not-zeroed', caughtBy: 'give.zeroed' },
  { fault: 'destroy-forgets-tables', caughtBy: 'destroy.pages' },
  { fault: 'lookup-forgets-the-offset', caughtBy: 'lookup.entry' },
  { fault: 'query-wants-whole-leaves', caughtBy: 'query.leaves' },
  { fault: 'query-limit-off-by-one', caughtBy: 'query.limit' },
  { fault: 'cancel-keeps-a-page', caughtBy: 'map.taken' },
  { fault: 'tlbi-missing', caughtBy: 'unmap.effects-tlbi' },
  { fault: 'break-missing', caughtBy: 'map.effects-bbm' },
  { fault: 'write-not-told', caughtBy: 'map.effects-replay' },
  { fault: 'write-tells-stale-old', caughtBy: 'map.effects-old' },
  { fault: 'write-names-the-table', caughtBy: 'map.effects-address' },
] as const satisfies readonly CoreMutant[];

export type CoreFault = (typeof CORE_MUTANTS)[number]['fault'];
