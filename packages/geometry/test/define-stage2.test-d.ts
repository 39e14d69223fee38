import { defineStage2, type Granule, type Host, type Stage2Options } from '../src/index.js';

const host = { granule: '16K', vaBits: 36 } as const;

defineStage2({ granule: '16K', ipaBits: 40 });
defineStage2({ granule: '16K', ipaBits: 40, host });
defineStage2({ granule: '16K', ipaBits: 40, host: { granule: '16K', vaBits: 36 } });
// @ts-expect-error three levels against two
defineStage2({ granule: '16K', ipaBits: 42, host });
defineStage2({ granule: '16K', ipaBits: 42, host, hostLevels: 'independent' });
defineStage2({ granule: '16K', ipaBits: 42, host: { granule: '16K', vaBits: 47 } });
// @ts-expect-error a switch that says what it says by default changes nothing
defineStage2({ granule: '16K', ipaBits: 42, host, hostLevels: 'checked' });

// A start level decides by itself; another policy is left to run time.
defineStage2({ granule: '4K', ipaBits: 40, startLevel: 1, host: { granule: '4K', vaBits: 39 } });
// @ts-expect-error level 0 is four levels against three
defineStage2({ granule: '4K', ipaBits: 40, startLevel: 0, host: { granule: '4K', vaBits: 39 } });
defineStage2({ granule: '16K', ipaBits: 42, host, policy: 'fewest-levels' });

// What is not a literal is left to run time.
export const atRunTime = (granule: Granule, ipaBits: number, vaBits: number, some: Host, options: Stage2Options) => [
  defineStage2({ granule: '16K', ipaBits, host }),
  defineStage2({ granule: '16K', ipaBits: 42, host: { granule: '16K', vaBits } }),
  defineStage2({ granule, ipaBits: 42, host: { granule: '4K', vaBits: 39 } }),
  defineStage2({ granule: '16K', ipaBits: 42, host: some }),
  defineStage2(options),
];

export const unions = (fits: 38 | 40, mixed: 40 | 42) => [
  defineStage2({ granule: '16K', ipaBits: fits, host }),
  // @ts-expect-error one of the two sizes is too deep
  defineStage2({ granule: '16K', ipaBits: mixed, host }),
];

// @ts-expect-error the host has other pages
defineStage2({ granule: '16K', ipaBits: 40, host: { granule: '4K', vaBits: 48 } });
// @ts-expect-error not an option
defineStage2({ granule: '16K', ipaBits: 40, ipa: 40 });
// @ts-expect-error ipaBits is missing
defineStage2({ granule: '16K' });
