import ts from 'typescript';

export interface Complaint {
  /** The text of the node at which the compiler complains. */
  readonly at: string;
  readonly code: number;
  readonly text: string;
}

const OPTIONS: ts.CompilerOptions = {
  strict: true,
  noEmit: true,
  target: ts.ScriptTarget.ES2023,
  lib: ['lib.es2023.d.ts'],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  customConditions: ['@granule/source'],
  types: [],
  skipLibCheck: true,
};

/** Compiles text as if it were a file beside this one, with the package's own source behind its imports. */
export function complaints(text: string): readonly Complaint[] {
  const file = `${import.meta.dirname}/snippet.ts`;
  const host = ts.createCompilerHost(OPTIONS);
  const { fileExists, getSourceFile } = host;
  host.fileExists = (name) => name === file || fileExists(name);
  host.getSourceFile = (name, ...rest) =>
    name === file ? ts.createSourceFile(name, text, ts.ScriptTarget.ES2023) : getSourceFile(name, ...rest);
  const program = ts.createProgram([file], OPTIONS, host);
  return ts.getPreEmitDiagnostics(program).map(({ file: source, start = 0, length = 0, code, messageText }) => ({
    at: source?.text.slice(start, start + length) ?? '',
    code,
    text: ts.flattenDiagnosticMessageText(messageText, '\n'),
  }));
}
