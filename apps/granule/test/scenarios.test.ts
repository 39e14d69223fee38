import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readScenario, runScenario } from '@granule/lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BACKENDS } from '../src/backends.js';
import { bundle, granule } from './support.js';

const folder = join(import.meta.dirname, '../scenarios');
const scratch = mkdtempSync(join(tmpdir(), 'granule-scenarios-'));
const read = (file: string) => {
  const outcome = readScenario(readFileSync(join(folder, file), 'utf8'), file);
  if (outcome.kind !== 'done') throw new Error(outcome.sentence);
  return outcome.value;
};

beforeAll(bundle, 30_000);
afterAll(() => rmSync(scratch, { recursive: true }));

const shipped = readdirSync(folder).filter((file) => file.endsWith('.yaml'));
/** Rows of the README: scenario, question, and what becomes of it on ARMv7. */
const rows = [...readFileSync(join(folder, 'README.md'), 'utf8').matchAll(/^\| `(\S+\.yaml)` \| (.*) \| (.*) \|$/gm)].map(([, file, question, armv7]) => ({ file, question, armv7 }));

/** run.test.ts has them on their own architecture. */
describe('a shipped scenario on ARMv7 is what the README of the scenarios says: clean, or refused in one sentence with what it needs', () => {
  it('and each has a row there, with its question', () => {
    expect(rows.map(({ file, question }) => [file, question])).toEqual(shipped.map((file) => [file, read(file).scenario.question]));
  });

  it.each(rows)('$file: $armv7', ({ file, armv7 }) => {
    const { scenario, place } = read(file);
    const outcome = runScenario(scenario, { backends: BACKENDS, arch: 'armv7-lpae', place });
    if (armv7 !== 'clean') {
      expect(outcome).toMatchObject({ kind: 'refused', id: 'scenario.arch' });
      expect(outcome.kind !== 'done' && outcome.sentence).toMatch(new RegExp(`^${file}:\\d+:\\d+: machine\\.arch: The scenario is of armv8 alone: it `));
      expect(outcome.kind !== 'done' && outcome.sentence.endsWith(`: it ${armv7}.`)).toBe(true);
      return;
    }
    if (outcome.kind !== 'done') throw new Error(outcome.sentence);
    expect(outcome.value.variants.flatMap(({ name, expectations }) => expectations.filter(({ passed }) => !passed).map((each) => ({ name, ...each })))).toEqual([]);
    expect(outcome.value.clean).toBe(true);
  }, 30_000);
});

describe('granule run', () => {
  it('writes an event log of each variant, which check judges as run did', () => {
    const log = join(scratch, 'hyp.jsonl');
    expect(granule('run', join(folder, 'hyp-unmap.yaml'), '--events', log).status).toBe(0);
    const [never, flushed, without] = [1, 2, 3].map((number) => granule('check', log.replace('.jsonl', `.${number}.jsonl`)));
    expect([never.status, flushed.status, without.status]).toEqual([0, 0, 1]);
    expect(without.stdout).toMatch(/tlbi\.missing/);
  }, 30_000);

  it('runs several scenarios one after the other, and fails if one does', () => {
    const wrong = join(scratch, 'wrong.json');
    writeFileSync(wrong, JSON.stringify({ schema: 'granule-scenario/1', name: 'wrong', steps: [{ do: 'read', at: 0 }], expect: { tables: 0 } }));
    const { status, stdout } = granule('run', join(folder, 'two-vcpus.yaml'), wrong);
    expect(stdout.split('\n').filter((line) => /^(?:not )?clean: /.test(line))).toHaveLength(2);
    expect(status).toBe(1);
    expect(JSON.parse(granule('run', join(folder, 'two-vcpus.yaml'), wrong, '--json').stdout)).toHaveLength(2);
  }, 30_000);

  it.each<[string, string[], RegExp]>([
    ['a field that nobody knows', ['schema: granule-scenario/1\nname: x\nsteps: [{ do: teardown, now: true }]'], /^granule: \S+\.yaml:3:25: steps\[0\]\.now is a field that nobody knows\.\n$/],
    ['another architecture that there is not', ['', '--arch', 'mips'], /^granule: --arch: mips is not armv8 or armv7-lpae\.\n$/],
    ['a page for two', ['', join(folder, 'boot.yaml'), '--html', 'x.html'], /^granule: --html: it takes one scenario, and there are 2\.\n$/],
    ['a page that cannot be written', ['schema: granule-scenario/1\nname: x\nsteps: [{ do: teardown }]', '--html', join(scratch, 'no/x.html')], /^granule: .*x\.html: there is no such file\.\n$/],
  ])('refuses %s in one sentence', (_, [yaml, ...words], sentence) => {
    const file = join(scratch, 'bad.yaml');
    writeFileSync(file, yaml);
    const { status, stderr } = granule('run', file, ...words);
    expect(stderr).toMatch(sentence);
    expect(status).toBe(2);
  }, 30_000);
});
