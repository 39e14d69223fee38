import type { Granule } from './granule.js';
import type { Host } from './levels.js';
import type { LESS_FOUR, LEVELS } from './levels-table.js';
import type { Result } from './refusal.js';
import { stage2Geometry, type Stage2Options } from './stage2.js';
import type { TableGeometry } from './table-geometry.js';

type LevelsTable = typeof LEVELS;
type LessFour = typeof LESS_FOUR;

/** Level counts below a count: what is too few for it. */
interface Fewer {
  1: never;
  2: 1;
  3: 1 | 2;
  4: 1 | 2 | 3;
  5: 1 | 2 | 3 | 4;
}

/** Start level to levels. */
interface LevelsFrom {
  [-1]: 5;
  0: 4;
  1: 3;
  2: 2;
  3: 1;
}

/** The row of a key, or never where the key is not a literal of the table: the check is then left to run time. */
type Row<Table, Key> = Key extends keyof Table ? Table[Key] : never;

type AtLeastTwo<Count> = Count extends 1 ? 2 : Count;

type KvmLevels<G extends Granule, Ipa> = AtLeastTwo<Row<LevelsTable[G], Row<LessFour, Ipa>>>;

/** Levels of the stage 2 asked for; never where only run time can tell. */
type StageLevels<C extends Stage2Options, G extends Granule, Ipa> = C extends { readonly startLevel: infer Start }
  ? Row<LevelsFrom, Start>
  : C extends { readonly policy: Exclude<Stage2Options['policy'], 'kvm' | undefined> }
    ? never
    : KvmLevels<G, Ipa>;

/** The sentence of the run-time check (`hostProblem` in stage2.ts), where there are too few levels; otherwise the IPA size itself. */
type Compared<Ipa extends number, G extends Granule, HostVa extends number, Needs, Has> = [Needs] extends [never]
  ? Ipa
  : [Has] extends [never]
    ? Ipa
    : Has extends Row<Fewer, Needs>
      ? `stage-2 needs ${Needs & number} levels for a ${Ipa}-bit IPA with ${G} pages; a host with ${HostVa}-bit VA has ${Has & number}`
      : Ipa;

/**
 * One conditional a parameter, so that unions are taken apart: of several IPA sizes each wrong one is refused, of several hosts one that
 * fits will do.
 */
type CheckIpa<C extends Stage2Options, Ipa, G, HostVa> = Ipa extends number
  ? G extends Granule
    ? HostVa extends number
      ? Compared<Ipa, G, HostVa, StageLevels<C, G, Ipa>, Row<LevelsTable[G], HostVa>>
      : Ipa
    : Ipa
  : Ipa;

/** The granules that the stage 2 and its host may have in common: never where they certainly differ. */
type Shared<C extends Stage2Options, HostOf extends Host> = C['granule'] & HostOf['granule'];

type CheckWithHost<C extends Stage2Options, HostOf extends Host, Key, Value> = [Shared<C, HostOf>] extends [never]
  ? Key extends 'host'
    ? `stage-2 with ${C['granule']} pages cannot borrow the page-table helpers of a host with ${HostOf['granule']} pages`
    : Value
  : Key extends 'ipaBits'
    ? CheckIpa<C, Value, Shared<C, HostOf>, HostOf['vaBits']>
    : Value;

type CheckProperty<C extends Stage2Options, Key, Value> = C extends { readonly hostLevels: 'independent' }
  ? Value
  : C extends { readonly host: infer HostOf extends Host }
    ? CheckWithHost<C, HostOf, Key, Value>
    : Value;

/** The options, with the wrong property alone replaced by the sentence that says why it is wrong. */
export type Checked<C extends Stage2Options> = {
  readonly [Key in keyof C]: Key extends keyof Stage2Options ? CheckProperty<C, Key, C[Key]> : never;
};

/**
 * {@link stage2Geometry} with the levels-vs-host check in types. For literal sizes a stage 2 deeper than its host does not compile, and the
 * compiler's message at `ipaBits` is the run-time check's own sentence; sizes that are not literals are checked at run time alone.
 * `hostLevels: 'independent'` switches both off (see {@link Stage2Options.hostLevels}).
 *
 * Refused as by {@link stage2Geometry}.
 */
export function defineStage2<const C extends Stage2Options>(options: Checked<C>): Result<TableGeometry> {
  return stage2Geometry(options);
}
