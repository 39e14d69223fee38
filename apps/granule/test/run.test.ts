import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problems } from './schema.js';
import { bundle, granule } from './support.js';

const root = join(import.meta.dirname, '../../..');
const folder = join(root, 'apps/granule/scenarios');
const scratch = mkdtempSync(join(tmpdir(), 'granule-run-'));
const schema = JSON.parse(readFileSync(join(root, 'docs/schemas/granule-report-1.json'), 'utf8')) as Record<string, unknown>;
/** The long one has a test of its own. */
const LONG = 'eager-split-1t.yaml';
const shipped = readdirSync(folder).filter((file) => file.endsWith('.yaml') && file !== LONG);

beforeAll(bundle, 30_000);
afterAll(() => rmSync(scratch, { recursive: true }));

describe('a shipped scenario', () => {
  it('is one of at least twelve', () => {
    expect(shipped.length + 1).toBeGreaterThanOrEqual(12);
  });

  it.each(shipped)('%s is clean, and its report is what the schema says', (file) => {
    const { status, stdout } = granule('run', join(folder, file), '--json');
    expect(status).toBe(0);
    expect(problems(schema, JSON.parse(stdout))).toEqual([]);
  }, 30_000);

  it('of 1 TiB, 64 GiB of it split into pages, is clean', () => {
    const { status, stdout } = granule('run', join(folder, LONG));
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^clean: /);
    expect(status).toBe(0);
  }, 60_000);
});

describe('granule run', () => {
  const SLOTS = join(folder, 'slot-move.yaml');

  it('writes a page that needs nothing from anywhere', () => {
    const html = join(scratch, 'slots.html');
    expect(granule('run', SLOTS, '--html', html).status).toBe(0);
    expect(readFileSync(html, 'utf8')).toMatch(/^<!doctype html>[\s\S]*<svg[\s\S]*<\/html>\n$/);
    expect(readFileSync(html, 'utf8')).not.toMatch(/<script|<link|src=|url\(/);
  });

  it('ends with exit code 1 where an expectation fails, and says which', () => {
    const wrong = join(scratch, 'wrong.yaml');
    writeFileSync(wrong, readFileSync(SLOTS, 'utf8').replace('tlbi.leaf: 4', 'tlbi.leaf: 5'));
    const { status, stdout } = granule('run', wrong);
    expect(stdout).toMatch(/^! move: tlbi\.leaf: 4, expected 5 /m);
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^not clean: /);
    expect(status).toBe(1);
  });
});

/** The commands of a page, each with the lines that it must print; a line that ends in … is the beginning of one. */
function questions(): readonly (readonly [commands: string, lines: readonly string[]])[] {
  const page = readFileSync(join(root, 'docs/questions.md'), 'utf8');
  return [...page.matchAll(/^```sh\n([\s\S]*?)^```\n```text\n([\s\S]*?)^```/gm)].map(([, commands, text]) => [commands.trimEnd(), text.trimEnd().split('\n')]);
}

describe('docs/questions.md', () => {
  it('has commands', () => {
    expect(questions().length).toBeGreaterThanOrEqual(5);
  });

  it.each(questions())('%s prints what the page says', (commands, lines) => {
    const results = commands.split('\n').map((command) => granule(...command.replace(/^npx granule /, '').split(' ').map((word) => word.replace(/^apps\//, `${root}/apps/`))));
    expect(results.map(({ status }) => status)).toEqual(results.map(() => 0));
    const printed = results.flatMap(({ stdout }) => stdout.split('\n'));
    const missing = lines.filter((line) => !printed.some((each) => (line.endsWith('…') ? each.startsWith(line.slice(0, -1).trimEnd()) : each.trimEnd() === line)));
    expect(missing).toEqual([]);
  }, 60_000);
});
