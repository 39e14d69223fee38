import type { Backend, Format, FormatConfig, PageTableCore, Walker } from '@granule/contract';
import type { Level, TableGeometry } from '@granule/geometry';
import { geometries as allGeometries, geometryName } from '../arbitraries/geometries.js';
import { budgetOf, ensure, type Runner } from '../law.js';
import type { MemoryFactory } from '../pgtable/subject.js';
import { walkerLaws } from './laws.js';

export interface TranslationConformanceOptions extends Runner {
  /** Where the formats come from, and the core that makes the tables: their own suites must pass first. */
  readonly backend: Backend;
  readonly core: PageTableCore;
  readonly memory: MemoryFactory;
  /** Default: all of the backend. */
  readonly regimes?: readonly string[];
  /** Default: each granule with input sizes of 32…52 bits at every legal start level, stage 1 and stage 2; those that the backend refuses are left out. */
  readonly geometries?: readonly TableGeometry[];
  readonly config?: (regime: string, geometry: TableGeometry) => Omit<FormatConfig, 'geometry'>;
  /**
   * Level that a fault outside of the input range reports; undefined: there is no such address. Default: 0 up to 51 bits, as AArch64 (DDI 0487,
   * AArch64.TranslateAddress), and no address beyond 52.
   */
  readonly outsideLevel?: (format: Format) => Level | undefined;
  /** Random cases per law and geometry; default 10. */
  readonly runs?: number;
  readonly seed?: number;
  /** Whether a failing case is made as small as it gets; default true. */
  readonly shrink?: boolean;
}

const outsideDefault = ({ geometry }: Format): Level | undefined => (geometry.iaBits < 52 ? 0 : undefined);

/**
 * A walker against the tables that a core makes: every mapping is found with the same output address, rights and memory type, at its first byte, its last
 * and between, and nothing is found beside; faults have the type, level, stage and address that the tables call for. Laws run on every regime and geometry,
 * each leaf level in turn. What an architecture adds on top of a format is left open: execution may be withheld from what EL0 may write or a level may not
 * read, and Device and Non-cacheable memory may be Outer Shareable.
 */
export function translationConformance(walker: Walker, options: TranslationConformanceOptions): void {
  const { describe, it, backend, core, memory, geometries = [...allGeometries(1), ...allGeometries(2)], outsideLevel = outsideDefault } = options;
  const budget = budgetOf(options, 10);
  for (const regime of options.regimes ?? backend.regimes) {
    const formats = geometries.flatMap((geometry) => {
      const config = { ...options.config?.(regime, geometry), geometry };
      const made = backend.format(regime, config);
      return made.kind === 'done' ? [{ config, format: made.value }] : [];
    });
    describe(`${backend.name} ${regime}`, () => {
      it('walk.some: the regime accepts at least one of the geometries', () => {
        ensure('walk.some', formats.length > 0, `${backend.name} refuses every geometry for ${regime}`);
      });
      for (const { config, format } of formats) {
        const subject = { format, config, core, walker, memory, outsideLevel: outsideLevel(format) };
        describe(geometryName(format.geometry), () => {
          for (const law of walkerLaws) it(`${law.name}: ${law.sentence}`, () => law.check(subject, budget));
        });
      }
    });
  }
}
