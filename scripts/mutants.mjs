// Runs the conformance suites on everything that is known to be wrong (packages/conformance/test/mutants) and prints which assertion catches what.
// Exits with 1 where one is not caught by the assertion that must name it, or where a suite finds fault with what is sound.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'tsup';

const root = join(import.meta.dirname, '..');
const outDir = mkdtempSync(join(tmpdir(), 'granule-mutants-'));
try {
  await build({
    config: false,
    silent: true,
    entry: [join(root, 'packages/conformance/test/mutants/all.ts')],
    outDir,
    format: 'esm',
    outExtension: () => ({ js: '.mjs' }),
    target: 'node20',
    platform: 'node',
    splitting: false,
    noExternal: [/.*/],
    esbuildOptions(options) {
      options.conditions = ['@granule/source', 'module'];
    },
  });
  /** @type {typeof import('../packages/conformance/test/mutants/all.js')} */
  const { MUTANTS, SOUND } = await import(pathToFileURL(join(outDir, 'all.mjs')).href);
  let missed = 0;
  for (const { suite, run } of SOUND) {
    const found = run();
    missed += found.length > 0 ? 1 : 0;
    console.log(`${suite}: ${found.length === 0 ? 'finds nothing where nothing is wrong' : `WRONGLY finds ${found.join(', ')}`}`);
    for (const mutant of MUTANTS.filter((each) => each.suite === suite)) {
      const names = mutant.run();
      const caught = names.includes(mutant.caughtBy);
      missed += caught ? 0 : 1;
      const others = names.filter((name) => name !== mutant.caughtBy);
      const also = others.length === 0 ? '' : `  (also ${others.join(', ')})`;
      console.log(`  ${mutant.fault.padEnd(48)} ${caught ? mutant.caughtBy : `MISSED by ${mutant.caughtBy}`}${also}`);
    }
  }
  console.log(`${MUTANTS.length} mutants, ${missed === 0 ? 'all caught' : `${missed} MISSED`}`);
  process.exitCode = missed === 0 ? 0 : 1;
} finally {
  rmSync(outDir, { recursive: true });
}
