import { readFileSync } from 'node:fs';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import * as bits from '../src/bits/index.js';
import * as geometry from '../src/index.js';
import { complaints } from './compile.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const examples = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1]);
const modules: Readonly<Record<string, object>> = { '@granule/geometry': geometry, '@granule/geometry/bits': bits };

/** Runs an example; what it prints ends up in the result, line by line. */
function run(example: string): readonly string[] {
  const printed: string[] = [];
  const { outputText } = ts.transpileModule(example, {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2023 },
  });
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the examples of this repository's own README
  const body = new Function('require', 'exports', 'print', outputText) as (
    require: (name: string) => object,
    exports: object,
    print: (line: string) => void,
  ) => void;
  body(
    (name) => modules[name],
    {},
    (line) => printed.push(line),
  );
  return printed;
}

describe('the examples of the README', () => {
  it('are three', () => {
    expect(examples).toHaveLength(3);
  });
  it.each(examples.map((example, index) => [index, example] as const))(
    'example %i compiles and prints what it says',
    (_, example) => {
      const said = [...example.matchAll(/^\/\/ (?!@ts)(.*)$/gm)].map((match) => match[1]);
      expect(complaints(`declare function print(line: string): void;\n${example}`)).toEqual([]);
      expect(run(example)).toEqual(said);
    },
    30_000,
  );
});
