import type { Backend, Features, Format, FormatConfig } from '@granule/contract';
import type { TableGeometry } from '@granule/geometry';
import { geometryName, someGeometries } from '../arbitraries/geometries.js';
import { budgetOf, ensure, type Budget, type Runner } from '../law.js';
import { accessLaws } from './access.js';
import { addressLaws } from './addresses.js';
import { attributeLaws } from './attributes.js';
import { breakLaws } from './break-before-make.js';
import { invalidLaws } from './invalid.js';
import { kindLaws } from './kinds.js';
import { layoutLaws } from './layouts.js';

export interface FormatConformanceOptions extends Runner {
  /** Default: all of the backend. */
  readonly regimes?: readonly string[];
  /** Default: each granule with input sizes of 32…52 bits, stage 1 and stage 2; those that the backend refuses are left out. */
  readonly geometries?: readonly TableGeometry[];
  /** What else goes into the configuration of the formats of a regime: features, MAIR, FWB, … */
  readonly config?: (regime: string) => Omit<FormatConfig, 'geometry'>;
  /** Random cases per law and level; default 25. */
  readonly runs?: number;
  readonly seed?: number;
  /** Whether a failing case is made as small as it gets; default true. */
  readonly shrink?: boolean;
}

/** A law of formats. `check` throws under the name of the assertion that does not hold. */
export interface FormatLaw {
  readonly name: string;
  readonly sentence: string;
  readonly check: (format: Format, budget: Budget, features: Partial<Features>) => void;
}

/** Every law of {@link formatConformance}, by topic. */
export const formatLaws: readonly FormatLaw[] = [
  ...kindLaws,
  ...attributeLaws,
  ...addressLaws,
  ...accessLaws,
  ...invalidLaws,
  ...breakLaws,
  ...layoutLaws,
];

function formatsOf(backend: Backend, regime: string, options: FormatConformanceOptions): readonly Format[] {
  const all = options.geometries ?? [...someGeometries(1), ...someGeometries(2)];
  return all.flatMap((geometry) => {
    const outcome = backend.format(regime, { ...options.config?.(regime), geometry });
    return outcome.kind === 'done' ? [outcome.value] : [];
  });
}

/**
 * The laws that every format keeps, over each regime and geometry of a backend, at every level. Runner-agnostic: pass `describe` and `it`
 * of vitest or `node:test`. A failure names the assertion, says one sentence, and shows the smallest words that break it with the seed
 * that reproduces them.
 */
export function formatConformance(backend: Backend, options: FormatConformanceOptions): void {
  const { describe, it } = options;
  const budget = budgetOf(options, 25);
  for (const regime of options.regimes ?? backend.regimes) {
    const formats = formatsOf(backend, regime, options);
    describe(`${backend.name} ${regime}`, () => {
      it('format.some: the regime accepts at least one of the geometries', () => {
        ensure('format.some', formats.length > 0, `${backend.name} refuses every geometry for ${regime}`);
      });
      for (const format of formats) {
        describe(geometryName(format.geometry), () => {
          for (const law of formatLaws) {
            it(`${law.name}: ${law.sentence}`, () => law.check(format, budget, options.config?.(regime).features ?? {}));
          }
        });
      }
    });
  }
}
