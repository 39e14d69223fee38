import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { importTable } from '../eslint.config.js';

const root = join(import.meta.dirname, '..');
const text = (path: string) => readFileSync(join(root, path), 'utf8');
const { scripts } = JSON.parse(text('package.json')) as { scripts: Record<string, string> };

/** The commands in the `sh` blocks of a page, one by one, without their comments. */
const commands = (page: string) =>
  [...text(page).matchAll(/^```sh\n(.*?)^```/gms)]
    .flatMap((block) => block[1].split('\n'))
    .flatMap((line) => line.replace(/\s+#.*$/, '').split('&&'))
    .map((command) => command.trim())
    .filter((command) => command !== '' && !command.startsWith('#'));

/** Why a command cannot be what a reader should type, or undefined. */
const objection = (command: string): string | undefined => {
  const [program, ...words] = command.split(/\s+/);
  const missing = words.filter((word) => /^(packages|apps|test|docs|examples)\//.test(word) && !existsSync(join(root, word)));
  if (missing.length > 0) return `no such path: ${missing.join(', ')}`;
  if (program === 'npm') {
    const script = words[0] === 'run' ? words[1] : words[0];
    return ['ci', 'install'].includes(script) || script in scripts ? undefined : `no script ${script}`;
  }
  if (program === 'npx') return existsSync(join(root, 'node_modules/.bin', words[0])) ? undefined : `no program ${words[0]}`;
  return existsSync(join(root, program)) ? undefined : `no program ${program}`;
};

describe('documented commands', () => {
  it.each(['README.md', 'CONTRIBUTING.md', 'docs/questions.md'])('%s tells people to type commands that exist', (page) => {
    expect(commands(page).length).toBeGreaterThan(0);
    expect(commands(page).map((command) => [command, objection(command)]).filter(([, why]) => why !== undefined)).toEqual([]);
  });

  it('the README gives the two commands that matter', () => {
    expect(text('README.md')).toContain('npm ci && npm start');
    expect(text('README.md')).toContain('npm ci && npm test');
  });

  it('.ci/run runs every npm command of the README', () => {
    const ci = text('.ci/run');
    expect(commands('README.md').filter((command) => command.startsWith('npm ') && !ci.includes(command))).toEqual([]);
  });
});

describe('the package table of the README', () => {
  const rows = new Map([...text('README.md').matchAll(/^\| `(\S+)` \|.*\| ([^|]*) \|$/gm)].map((row) => [row[1], row[2]]));

  it('lists every package of the repository with its row of the import table', () => {
    for (const [name, { folder, imports }] of Object.entries(importTable)) {
      if (!existsSync(join(root, folder))) continue;
      const built = imports.filter((each) => existsSync(join(root, importTable[each].folder)));
      expect(`${name}: ${rows.get(name)}`).toBe(`${name}: ${built.length === 0 ? 'nothing' : built.join(', ')}`);
    }
  });
});
