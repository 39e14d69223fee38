import { defineConfig } from 'tsup';

// One bundle, split at the lazy imports so that a verb loads only what it needs.
export default defineConfig({
  entry: { granule: 'src/index.ts' },
  format: 'esm',
  target: 'node20',
  platform: 'node',
  splitting: true,
  clean: true,
  noExternal: [/.*/],
  // Commander is CommonJS inside and asks for node's own modules by require.
  banner: { js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);" },
  esbuildOptions(options) {
    options.conditions = ['@granule/source', 'module'];
  },
});
