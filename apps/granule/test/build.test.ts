import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problems } from './schema.js';
import { bundle, granule } from './support.js';

const scratch = mkdtempSync(join(tmpdir(), 'granule-build-'));
const MAP = join(scratch, 'map.csv');

beforeAll(async () => {
  writeFileSync(MAP, '# a board\n0x1c09_0000, 4K, DEVICE, UART0\n0x8000_0000, 1G, RW_DATA, DRAM\n0xc000_0000, 2M, CODE, flash, 0x0800_0000\n');
  await bundle();
}, 30_000);
afterAll(() => rmSync(scratch, { recursive: true }));

describe('granule build', () => {
  it('writes tables that dump reads back, with the registers beside them', () => {
    const image = join(scratch, 'tables.bin');
    const built = granule('build', MAP, '--regime', 'el2', '--va', '39', '--base', '0x9000_0000', '-o', image, '--regs', join(scratch, 'tables.regs.json'));
    expect(built).toMatchObject({ status: 0, stderr: '' });
    expect(built.stdout).toMatch(/pool: 16K; 2072K if every page is mapped by itself/);
    expect(built.stdout).toMatch(/TTBR0_EL2 +0x0000000090000000/);
    const { status, stdout } = granule('dump', image, '--base', '0x9000_0000', '--regime', 'el2', '--format', 'csv');
    expect(status).toBe(0);
    expect(stdout.trim().split('\n').slice(1).map((row) => row.split(',').slice(0, 6))).toEqual([
      ['0x000000001c090000', '0x000000001c091000', '3', '0x000000001c090000', 'RW-', 'device-nGnRnE'],
      ['0x0000000080000000', '0x00000000c0000000', '1', '0x0000000080000000', 'RW-', 'normal'],
      ['0x00000000c0000000', '0x00000000c0200000', '2', '0x0000000008000000', 'R-X', 'normal'],
    ]);
  });

  it('gives the same bytes on standard output', () => {
    const image = join(scratch, 'again.bin');
    granule('build', MAP, '--base', '0x9000_0000', '-o', image);
    expect(Buffer.from(granule('build', MAP, '--base', '0x9000_0000', '--format', 'bin').stdout)).toEqual(Buffer.from(readFileSync(image).toString()));
  });

  it('--json keeps its schema', () => {
    const { status, stdout } = granule('build', MAP, '--base', '0x9000_0000', '--json');
    expect(status).toBe(0);
    const schema = JSON.parse(readFileSync(join(import.meta.dirname, '../../../docs/schemas/granule-build-1.json'), 'utf8')) as Record<string, unknown>;
    expect(problems(schema, JSON.parse(stdout))).toEqual([]);
  });

  it.each<[string, string[], number, RegExp]>([
    ['a map that is not there', ['nowhere.csv', '--base', '0'], 2, /^granule: nowhere\.csv: there is no such file/],
    ['a line that is wrong', [MAP, '--base', '0', '--granule', '64K'], 2, /^granule: .*map\.csv:2: The region .* is not whole pages of 64K/],
    ['a base between tables', [MAP, '--base', '0x1000'], 2, /^granule: --base: /],
    ['no base', [MAP], 2, /^granule: required option '--base <ADDRESS>'/],
    ['the size of the other stage', [MAP, '--base', '0', '--va', '39'], 2, /^granule: --va: regime s2 is of stage 2/],
    ['a regime that is none', [MAP, '--base', '0', '--regime', 'el3'], 2, /^granule: --regime: el3 is not one of/],
    ['a configuration that is not supported', [MAP, '--base', '0', '--ipa', '52'], 1, /FEAT_LPA2/],
  ])('%s ends in one sentence', (_, words, code, message) => {
    const { status, stdout, stderr } = granule('build', ...words);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stdout).toBe('');
    expect(status).toBe(code);
  });
});
