import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { expect, it } from 'vitest';

const here = fileURLToPath(new URL('.', import.meta.url));

it("the README's example runs under node:test", { timeout: 60_000 }, async () => {
  const readme = readFileSync(join(here, '..', 'README.md'), 'utf8');
  const example = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1]).find((code) => code.includes("'node:test'"));
  const folder = mkdtempSync(join(here, '.readme-'));
  try {
    writeFileSync(join(folder, 'example.ts'), example ?? '');
    await build({
      root: folder,
      logLevel: 'error',
      configFile: false,
      ssr: { noExternal: true, resolve: { conditions: ['@granule/source', 'node', 'import', 'default'] } },
      resolve: { conditions: ['@granule/source', 'node', 'import', 'default'] },
      build: {
        ssr: join(folder, 'example.ts'),
        outDir: folder,
        emptyOutDir: false,
        rollupOptions: { output: { entryFileNames: 'example.mjs' } },
      },
    });
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => name !== 'NODE_TEST_CONTEXT'));
    const output = execFileSync(process.execPath, ['--test', '--test-reporter=tap', join(folder, 'example.mjs')], {
      encoding: 'utf8',
      env,
    });
    expect(output).toMatch(/^# fail 0$/m);
    expect(output).toContain('kind.mask: kind agrees with typeMask, leafType and tableType for every word');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
