import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import * as bits from '../src/bits/index.js';
import * as geometry from '../src/index.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const examples = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1]);
const modules: Readonly<Record<string, object>> = { '@granule/geometry': geometry, '@granule/geometry/bits': bits };

/** Runs an example; what it prints ends up in the result, line by line. */
function run(example: string): readonly string[] {
  const printed: string[] = [];
  const { outputText } = ts.transpileModule(example, { compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2023 } });
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the examples of this repository's own README
  const body = new Function('require', 'exports', 'print', outputText) as (require: (name: string) => object, exports: object, print: (line: string) => void) => void;
  body((name) => modules[name], {}, (line) => printed.push(line));
  return printed;
}

/** The compiler's complaints about an example, with its `print` declared and its imports found in this package's source. */
function complaints(example: string, index: number): readonly string[] {
  const file = fileURLToPath(new URL(`example-${index}.ts`, import.meta.url));
  const options: ts.CompilerOptions = {
    strict: true, noEmit: true, target: ts.ScriptTarget.ES2023, lib: ['lib.es2023.d.ts'], module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler, customConditions: ['@granule/source'], types: [], skipLibCheck: true,
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile } = host;
  host.fileExists = (name) => name === file || fileExists(name);
  host.getSourceFile = (name, ...rest) =>
    name === file ? ts.createSourceFile(name, `declare function print(line: string): void;\n${example}`, ts.ScriptTarget.ES2023) : getSourceFile(name, ...rest);
  return ts.getPreEmitDiagnostics(ts.createProgram([file], options, host)).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

describe('the examples of the README', () => {
  it('are three', () => {
    expect(examples).toHaveLength(3);
  });
  it.each(examples.map((example, index) => [index, example] as const))('example %i compiles and prints what it says', (index, example) => {
    const said = [...example.matchAll(/^\/\/ (?!@ts)(.*)$/gm)].map((match) => match[1]);
    expect(complaints(example, index)).toEqual([]);
    expect(run(example)).toEqual(said);
  }, 30_000);
});
