import { armv8 } from '@granule/armv8';
import * as geometry from '@granule/geometry';
import { createTableArena } from '@granule/memory';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import * as pgtable from '../src/index.js';

const readme = readFileSync(join(import.meta.dirname, '..', 'README.md'), 'utf8');
const example = /```ts\n([\s\S]*?)```/.exec(readme)![1];

it('the example of the README prints what its comments say', () => {
  const body = example
    .split('\n')
    .filter((line) => !line.startsWith('import '))
    .join('\n');
  const printed: string[] = [];
  const names = { armv8, stage2Geometry: geometry.stage2Geometry, createTableArena, createPageTable: pgtable.createPageTable };
  const imported = [...example.matchAll(/^import \{ (\w+) \}/gm)].map(([, name]) => name);
  expect(imported.sort()).toEqual(Object.keys(names).sort());
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the README's own text
  const run = new Function('console', ...Object.keys(names), body) as (...values: unknown[]) => void;
  run({ log: (...values: unknown[]) => printed.push(values.join(' ')) }, ...Object.values(names));
  expect(printed).toEqual([...body.matchAll(/^\/\/ (.*)$/gm)].map(([, line]) => line));
});

it('the table of the README names every operation', () => {
  const operations = Object.getOwnPropertyNames(pgtable.GranulePageTable.prototype).filter((name) => readme.includes(`\`${name}\``));
  expect(operations).toEqual(
    expect.arrayContaining(['map', 'prepareMap', 'unmap', 'split', 'merge', 'annotate', 'writeProtect', 'age', 'flush', 'destroy']),
  );
});
