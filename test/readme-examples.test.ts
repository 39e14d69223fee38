import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'tsup';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

// The `ts` blocks of every README compile against the packages' sources and print the lines that stand behind them as `// line` at the end
// of the block. Examples for node:test run under it. `print(line)` is given to them; comments inside the code are left alone.

interface Example {
  readonly readme: string;
  readonly code: string;
  readonly file: string;
}

const root = join(import.meta.dirname, '..');
const readmes = [
  'README.md',
  ...['packages', 'apps'].flatMap((folder) => readdirSync(join(root, folder)).map((name) => join(folder, name, 'README.md'))),
];

const examples: readonly Example[] = readmes
  .filter((readme) => existsSync(join(root, readme)))
  .flatMap((readme) => {
    const blocks = readFileSync(join(root, readme), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g);
    return [...blocks].map((block, index) => ({
      readme,
      code: block[1] ?? '',
      file: join(root, 'packages/lab', `example-${readme.replace(/\W/g, '-')}-${String(index)}.ts`),
    }));
  });

const OPTIONS: ts.CompilerOptions = {
  strict: true,
  noEmit: true,
  target: ts.ScriptTarget.ES2023,
  lib: ['lib.es2023.d.ts'],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  customConditions: ['@granule/source'],
  types: ['node'],
  skipLibCheck: true,
};

/** What the compiler says of each example's file; one program for all of them. */
function complaints(): ReadonlyMap<string, readonly string[]> {
  const texts = new Map(examples.map(({ file, code }) => [file, `${code}\nexport {};\ndeclare function print(line: unknown): void;\n`]));
  const host = ts.createCompilerHost(OPTIONS);
  const { fileExists, getSourceFile } = host;
  host.fileExists = (name) => texts.has(name) || fileExists(name);
  host.getSourceFile = (name, ...rest) => {
    const text = texts.get(name);
    return text === undefined ? getSourceFile(name, ...rest) : ts.createSourceFile(name, text, ts.ScriptTarget.ES2023);
  };
  const program = ts.createProgram([...texts.keys()], OPTIONS, host);
  return new Map(
    [...texts.keys()].map((file) => {
      const source = program.getSourceFile(file);
      return [
        file,
        source === undefined
          ? ['not compiled']
          : ts.getPreEmitDiagnostics(program, source).map((each) => ts.flattenDiagnosticMessageText(each.messageText, '\n')),
      ];
    }),
  );
}

/** An example for node:test runs there, bundled from the sources. */
async function runUnderNode(example: Example): Promise<void> {
  const outDir = mkdtempSync(join(tmpdir(), 'granule-example-'));
  try {
    const entry = join(outDir, 'example.ts');
    writeFileSync(entry, example.code);
    await build({
      config: false,
      silent: true,
      entry: [entry],
      outDir,
      format: 'esm',
      outExtension: () => ({ js: '.mjs' }),
      platform: 'node',
      removeNodeProtocol: false,
      noExternal: [/.*/],
      esbuildOptions(options) {
        options.conditions = ['@granule/source', 'module'];
        options.nodePaths = [join(root, 'node_modules')];
      },
    });
    const { status, stdout } = spawnSync(process.execPath, ['--test', join(outDir, 'example.mjs')], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] },
    });
    expect(stdout).toMatch(/# pass [1-9]/);
    expect(status).toBe(0);
  } finally {
    rmSync(outDir, { recursive: true });
  }
}

async function run(code: string): Promise<readonly string[]> {
  const printed: string[] = [];
  const modules = new Map<string, object>();
  for (const [, name = ''] of code.matchAll(/from '([^']+)'/g)) {
    modules.set(name, (await import(/* @vite-ignore */ name)) as object);
  }
  const { outputText } = ts.transpileModule(code, { compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2023 } });
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the examples of this repository's own READMEs
  const body = new Function('require', 'exports', 'print', outputText) as (
    require: (name: string) => object | undefined,
    exports: object,
    print: (line: unknown) => void,
  ) => void;
  body(
    (name) => modules.get(name),
    {},
    (line) => printed.push(String(line)),
  );
  return printed;
}

/** The comment lines at the end of an example. */
function expected(code: string): readonly string[] {
  const lines = code.trimEnd().split('\n');
  const last = lines.findLastIndex((line) => !line.startsWith('// '));
  return lines.slice(last + 1).map((line) => line.slice(3));
}

describe('the examples of the READMEs', () => {
  const found = complaints();

  it('every library has one', () => {
    const withExample = new Set(examples.map(({ readme }) => readme));
    const libraries = readmes.filter((readme) => readme.startsWith('packages/'));
    expect(libraries.filter((readme) => !withExample.has(readme))).toEqual([]);
  });

  it.each(examples)(
    '$readme: an example compiles and prints what it says',
    async (example) => {
      const { code, file } = example;
      expect(found.get(file)).toEqual([]);
      if (code.includes("from 'node:test'")) {
        await runUnderNode(example);
        return;
      }
      const lines = expected(code);
      expect(lines.length).toBeGreaterThan(0);
      expect(await run(code)).toEqual(lines);
    },
    60_000,
  );
});
