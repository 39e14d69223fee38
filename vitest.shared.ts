import { defaultClientConditions, defaultServerConditions } from 'vite';
import { defineConfig } from 'vitest/config';

// Resolve @granule/* to its source, so that tests need no build.
const source = '@granule/source';

// .ci/run sets it, to add the totals up; every run writes its report beside its own package.
const report = process.env['GRANULE_TEST_REPORT'] === '1';

/** The vitest configuration of every package: run from the package or, by path, from the root. */
export const shared = (include: string[]) =>
  defineConfig({
    resolve: { conditions: [source, ...defaultClientConditions] },
    ssr: { resolve: { conditions: [source, ...defaultServerConditions] } },
    test: {
      include,
      // A limit for what hangs. How long things take is measured by the benches, not told by a test on a busy machine.
      testTimeout: 60_000,
      reporters: report ? ['default', 'json'] : ['default'],
      outputFile: { json: '.reports/vitest.json' },
    },
  });
