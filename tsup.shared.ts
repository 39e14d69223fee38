import { defineConfig } from 'tsup';

/**
 * How every library is built: ESM and declarations into dist. The declarations step of tsup sets `baseUrl`, which TypeScript 6 reports as
 * deprecated (TS5101), hence `ignoreDeprecations`.
 */
export const library = (...entry: string[]) =>
  defineConfig({
    entry,
    format: 'esm',
    target: 'es2023',
    platform: 'neutral',
    splitting: true,
    clean: true,
    dts: { compilerOptions: { ignoreDeprecations: '6.0' } },
  });
