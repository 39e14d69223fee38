import { Linter } from 'eslint';
import { parser } from 'typescript-eslint';
import { describe, expect, it } from 'vitest';
import { libraries, restrictedImports } from '../eslint.config.js';

const breaches = (name: string, source: string) =>
  new Linter()
    .verify(source, { languageOptions: { parser }, rules: { 'no-restricted-imports': ['error', restrictedImports(name)] } })
    .map((message) => message.message.replace(/^.*pattern\. /, ''));

describe('the import table in lint', () => {
  it('lets a package import its own files and the packages of its row', () => {
    expect(breaches('geometry', "import { a } from './levels.js'; import { b } from '../bits/index.js';")).toEqual([]);
    expect(breaches('pgtable', "import { a } from '@granule/geometry'; import { b } from '@granule/geometry/bits';")).toEqual([]);
    expect(breaches('snapshot', "import { a } from 'fflate';")).toEqual([]);
  });

  it('refuses an upward import, also of a type, also re-exported, in the words of the table', () => {
    const sentence = 'The import table lets geometry import nothing.';
    expect(breaches('geometry', "import { a } from '@granule/contract';")).toEqual([sentence]);
    expect(breaches('geometry', "import type { A } from '@granule/contract';")).toEqual([sentence]);
    expect(breaches('geometry', "export { a } from '@granule/contract';")).toEqual([sentence]);
    expect(breaches('lab', "import { a } from '@granule/armv8';")).toHaveLength(1);
  });

  it('is not fooled by a name that begins like an allowed one', () => {
    expect(breaches('contract', "import { a } from '@granule/geometry-extra';")).toHaveLength(1);
  });

  it('refuses the modules of node in every library, with and without the prefix', () => {
    for (const name of libraries) {
      expect(breaches(name, "import { readFileSync } from 'node:fs';")).toHaveLength(1);
      expect(breaches(name, "import { readFileSync } from 'fs';")).toHaveLength(1);
    }
  });

  it("refuses a relative path into another package's source", () => {
    expect(breaches('pgtable', "import { a } from '../../geometry/src/index.js';")).toEqual(['A relative import stays inside its own src/.']);
  });
});
