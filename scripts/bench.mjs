// Bundles packages/lab/bench/*.ts (or the ones named on the command line, without .ts) into a temporary folder and runs them one after the other.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'tsup';

const folder = 'packages/lab/bench';
const all = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.bench.ts')) : [];
const named = process.argv.slice(2);
const chosen = named.length === 0 ? all : all.filter((file) => named.includes(file.replace('.bench.ts', '')));
if (chosen.length === 0) {
  console.error(`no bench ${named.join(', ')} in ${folder}/*.bench.ts`);
  process.exit(2);
}

const outDir = mkdtempSync(join(tmpdir(), 'granule-bench-'));
try {
  await build({
    config: false,
    silent: true,
    entry: chosen.map((file) => join(folder, file)),
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
  for (const file of chosen) {
    const { status } = spawnSync(process.execPath, ['--expose-gc', join(outDir, file.replace('.ts', '.mjs'))], { stdio: 'inherit' });
    if (status !== 0) process.exitCode = 1;
  }
} finally {
  rmSync(outDir, { recursive: true });
}
