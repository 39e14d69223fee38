import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { preProcessFile } from 'typescript';
import { describe, expect, it } from 'vitest';
import { importTable, libraries } from '../eslint.config.js';

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly dependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
}

const root = join(import.meta.dirname, '..');
const text = (path: string) => readFileSync(join(root, path), 'utf8');
const manifest = (folder: string) => JSON.parse(text(`${folder}/package.json`)) as Manifest;
const foldersIn = (parent: string) =>
  readdirSync(join(root, parent), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(root, parent, entry.name, 'package.json')))
    .map((entry) => `${parent}/${entry.name}`);

const packages = foldersIn('packages');
const apps = foldersIn('apps');
const shortName = (folder: string) => folder.slice('packages/'.length);

const sourceFiles = (folder: string) =>
  readdirSync(join(root, folder, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `${folder}/src/${file}`);

/** Names of the packages that a source text imports: `@granule/geometry/bits` is `@granule/geometry`. */
const importedPackages = (source: string) =>
  preProcessFile(source)
    .importedFiles.map(({ fileName }) => fileName)
    .filter((name) => !name.startsWith('.') && !name.startsWith('node:'))
    .map((name) => name.split('/').slice(0, name.startsWith('@') ? 2 : 1).join('/'));

describe('the import table', () => {
  it('has a row for every package of the repository', () => {
    expect(packages.map(shortName).filter((name) => !(name in importTable))).toEqual([]);
  });

  it('names each package by its folder', () => {
    for (const folder of packages) expect(manifest(folder).name).toBe(`@granule/${shortName(folder)}`);
    for (const [name, row] of Object.entries(importTable)) expect(row.folder).toBe(`packages/${name}`);
  });

  it('has no cycle', () => {
    const reach = (name: string, path: string[]): void => {
      expect(path, `${name} imports itself`).not.toContain(name);
      for (const next of importTable[name].imports) reach(next, [...path, name]);
    };
    for (const name of libraries) reach(name, []);
  });

  it.each(packages)('allows every dependency of %s', (folder) => {
    const { imports, external = [] } = importTable[shortName(folder)];
    const allowed = [...imports.map((name) => `@granule/${name}`), ...external];
    const { dependencies = {}, peerDependencies = {} } = manifest(folder);
    expect(Object.keys(dependencies).filter((name) => !allowed.includes(name))).toEqual([]);
    expect(peerDependencies).toEqual({});
  });

  it('keeps apps out of every dependency', () => {
    const appNames = apps.map((folder) => manifest(folder).name);
    for (const folder of [...packages, ...apps]) {
      const { dependencies = {}, devDependencies = {} } = manifest(folder);
      expect(Object.keys({ ...dependencies, ...devDependencies }).filter((name) => appNames.includes(name))).toEqual([]);
    }
  });
});

describe('a package.json', () => {
  it.each([...packages, ...apps])('of %s declares what src imports', (folder) => {
    const { dependencies = {} } = manifest(folder);
    const imported = sourceFiles(folder).flatMap((file) => importedPackages(text(file)));
    expect([...new Set(imported)].filter((name) => !(name in dependencies) && !builtinModules.includes(name))).toEqual([]);
  });

  it.each([...packages, ...apps])('of %s asks for other packages of the repository at ^ the version they have', (folder) => {
    const { dependencies = {}, devDependencies = {} } = manifest(folder);
    for (const [name, range] of Object.entries({ ...dependencies, ...devDependencies })) {
      if (!name.startsWith('@granule/')) continue;
      expect(`${name} ${range}`).toBe(`${name} ^${manifest(`packages/${name.slice('@granule/'.length)}`).version}`);
    }
  });

  it.each([...packages, ...apps])('of %s pins what comes from outside exactly', (folder) => {
    const { dependencies = {}, devDependencies = {} } = manifest(folder);
    const outside = Object.entries({ ...dependencies, ...devDependencies }).filter(([name]) => !name.startsWith('@granule/'));
    for (const [, version] of outside) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  });
});

describe('a changeset', () => {
  const changesets = readdirSync(join(root, '.changeset')).filter((file) => file.endsWith('.md') && file !== 'README.md');
  const published = packages.map(manifest).filter((each) => each.private !== true).map(({ name }) => name);

  // `changeset version` refuses one that names a package without versions beside others.
  it.each(changesets)('%s names packages that are published, and the kind of release of each', (file) => {
    const [, head = '', sentence = ''] = text(`.changeset/${file}`).split(/^---$/m);
    const rows = head.trim().split('\n').map((row) => /^['"](\S+)['"]: (?:major|minor|patch)$/.exec(row)?.[1] ?? row);
    expect(rows.filter((name) => !published.includes(name))).toEqual([]);
    expect(sentence.trim()).toMatch(/\.$/);
  });
});

describe('every package', () => {
  const files = ['README.md', 'package.json', 'src/index.ts', 'tsconfig.json', 'tsconfig.src.json', 'tsup.config.ts', 'vitest.config.ts'];

  it.each([...packages, ...apps])('%s has the same files', (folder) => {
    expect(files.filter((file) => !existsSync(join(root, folder, file)))).toEqual([]);
  });

  it.each(packages)('%s carries the licence, which npm packs from its own folder alone', (folder) => {
    expect(text(`${folder}/LICENSE`)).toBe(text('LICENSE'));
  });

  it.each(packages)('%s has a source, types and import condition for each export, in this order', (folder) => {
    const { exports } = JSON.parse(text(`${folder}/package.json`)) as { exports: Record<string, Record<string, string>> };
    for (const conditions of Object.values(exports)) {
      expect(Object.keys(conditions)).toEqual(['@granule/source', 'types', 'import']);
      expect(existsSync(join(root, folder, conditions['@granule/source'])), conditions['@granule/source']).toBe(true);
    }
  });
});
