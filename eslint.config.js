import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';
import { noBitwiseOnAddress } from './eslint/no-bitwise-on-address.js';

/**
 * Who may import whom, in `src/`: for each package the packages of this repository (`imports`) and from outside (`external`). npm hoists every
 * workspace, so nothing but this table stops an upward import. The packages that are still to come are listed too.
 *
 * @type {Record<string, { folder: string, imports: string[], external?: string[] }>}
 */
export const importTable = {
  geometry: { folder: 'packages/geometry', imports: [] },
  contract: { folder: 'packages/contract', imports: ['geometry'] },
  conformance: { folder: 'packages/conformance', imports: ['geometry', 'contract'], external: ['fast-check'] },
  memory: { folder: 'packages/memory', imports: ['geometry', 'contract'] },
  pgtable: { folder: 'packages/pgtable', imports: ['geometry', 'contract'] },
  armv8: { folder: 'packages/armv8', imports: ['geometry', 'contract'] },
  'armv7-lpae': { folder: 'packages/armv7-lpae', imports: ['geometry', 'contract'] },
  mmu: { folder: 'packages/mmu', imports: ['geometry', 'contract'] },
  'cache-tlb': { folder: 'packages/cache-tlb', imports: ['geometry', 'contract', 'mmu'] },
  nested: { folder: 'packages/nested', imports: ['geometry', 'contract', 'pgtable', 'mmu'] },
  kvm: { folder: 'packages/kvm', imports: ['geometry', 'contract', 'memory', 'pgtable', 'mmu', 'nested'] },
  snapshot: { folder: 'packages/snapshot', imports: ['geometry', 'contract', 'memory'], external: ['fflate', 'zod'] },
  lab: {
    folder: 'packages/lab',
    imports: [
      'geometry', 'contract', 'conformance', 'memory', 'pgtable', 'mmu', 'cache-tlb', 'nested', 'kvm', 'snapshot',
    ],
    external: ['d3-scale', 'yaml', 'zod'],
  },
};

/** Every package: what the two apps may import. */
export const libraries = Object.keys(importTable);

/** @param {string} text */
const escape = (text) => text.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&');

/**
 * The options of `no-restricted-imports` for one package: an import is relative and stays in `src/`, or is in the package's row.
 *
 * @param {string} name
 */
export const restrictedImports = (name) => {
  const { imports, external = [] } = importTable[name];
  const allowed = [...imports.map((each) => `@granule/${each}`), ...external].map(escape);
  const row = imports.length + external.length === 0 ? 'nothing' : [...imports, ...external].join(', ');
  return {
    patterns: [
      {
        regex: `^(?!\\.{1,2}(/|$)${allowed.map((each) => `|${each}(/|$)`).join('')})`,
        message: `The import table lets ${name} import ${row}.`,
      },
      { regex: '^\\.\\.?/.*(/src/|/dist/|/test/|/packages/|/apps/)', message: 'A relative import stays inside its own src/.' },
    ],
  };
};

const skipped = {
  selector: 'MemberExpression[object.name=/^(it|test|describe)$/][property.name=/^(skip|only|todo|fails)$/]',
  message: 'A test runs, or it is not there.',
};
const enums = { selector: 'TSEnumDeclaration', message: 'Use a literal union, or a const object and its union type.' };
const lazy = { selector: 'ImportExpression', message: 'A library imports statically; the apps load lazily.' };

/** Configurations of tools, which ask for a default export. */
const toolConfigs = ['**/*.config.ts', '**/*.config.js'];

export default defineConfig(
  globalIgnores(['**/dist/', '**/.turbo/', '**/.reports/', '**/coverage/']),
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { requireDefaultForNonUnion: true }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      'no-restricted-exports': [
        'error',
        { restrictDefaultExports: { direct: true, named: true, defaultFrom: true, namedFrom: true, namespaceFrom: true } },
      ],
      'no-restricted-syntax': ['error', enums, skipped],
      eqeqeq: 'error',
      // An index past the end is undefined while its type says otherwise (noUncheckedIndexedAccess is off for the hot loops).
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // Numbers are what this code prints.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // `() => sink?.(event)` is the plain way to write a callback.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true, ignoreVoidOperator: true }],
      // Type-level checks need parameters that appear once.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      // An index that the loop has just bounded needs no second check.
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  { files: toolConfigs, rules: { 'no-restricted-exports': 'off' } },
  {
    files: ['packages/*/src/**/*.ts', 'apps/*/src/**/*.ts'],
    rules: { 'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }] },
  },
  { files: ['packages/*/src/**/*.ts'], rules: { 'no-restricted-syntax': ['error', enums, lazy] } },
  libraries.map((name) => ({
    name: `granule/imports/${name}`,
    files: [`${importTable[name].folder}/src/**/*.ts`],
    rules: { 'no-restricted-imports': ['error', restrictedImports(name)] },
  })),
  {
    files: ['**/*.ts'],
    ignores: ['packages/geometry/src/bits/**', 'packages/geometry/src/bits.ts', 'packages/armv8/**', 'packages/armv7-lpae/**'],
    plugins: { granule: { rules: { 'no-bitwise-on-address': noBitwiseOnAddress } } },
    rules: { 'granule/no-bitwise-on-address': 'error' },
  },
  {
    // What a test holds in its hand it may look at: fakes without bodies, methods taken loose.
    files: ['**/test/**/*.ts', '**/bench/**/*.ts'],
    rules: { '@typescript-eslint/unbound-method': 'off', '@typescript-eslint/no-empty-function': 'off' },
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: { globals: { console: 'readonly', process: 'readonly', URL: 'readonly' } },
  },
);
