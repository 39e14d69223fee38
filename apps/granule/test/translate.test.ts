import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { problems } from './schema.js';
import { bundle, granule } from './support.js';

const scratch = mkdtempSync(join(tmpdir(), 'granule-translate-'));
const CASES = join(scratch, 'cases.jsonl');

/**
 * EL1&0 with its stage 1 off; stage 2 of 4K pages, 32 bits from level 1 (VTCR_EL2.T0SZ 32, SL0 1, PS 1), HA on: DDI 0487 VTCR_EL2. Entry 1 of its table
 * is a 1 GiB block, readable and writable, its access flag (bit 10) clear; entry 2 is invalid: a data abort (EC 0x24) with IL, ISV and FSC 5. The last answer is wrong on purpose.
 */
const CASE = {
  id: 'one',
  machine: 'max',
  regs: { HCR_EL2: '0x80000001', SCTLR_EL1: '0x1004', VTCR_EL2: '0x80210060', VTTBR_EL2: '0x48000000' },
  mem: [['0x48000008', '0x400003fd']],
  queries: [
    { op: 'LDRB_EL1', va: '0x40001000', ok: 1, changed: [['0x48000008', '0x400007fd']] },
    { op: 'LDRB_EL1', va: '0x80001000', abort: { el: 2, esr: '0x93000005', far: '0x80001000', hpfar: '0x800010' } },
    { op: 'S12E1R', va: '0x40001234', par: '0x1' },
  ],
};
/** RAM, and ID registers that say 48-bit physical addresses and FEAT_HAFDBS. */
const MACHINES = { machines: { max: { state: 'aarch64', cpu: 'max', windows: [['0x40000000', '0x10000000']], id: { ID_AA64MMFR0_EL1: '0x1125', ID_AA64MMFR1_EL1: '0x10212122' } } } };

beforeAll(async () => {
  await bundle();
  writeFileSync(CASES, `${JSON.stringify(CASE)}\n`);
  writeFileSync(join(scratch, 'machines.json'), JSON.stringify(MACHINES));
}, 30_000);
afterAll(() => rmSync(scratch, { recursive: true }));

it('prints lines that keep their schema, with what hardware wrote', () => {
  const { stdout, stderr } = granule('translate', '--cases', CASES);
  expect(stderr).toBe('');
  const schema = JSON.parse(readFileSync(join(import.meta.dirname, '../../../docs/schemas/granule-translate-1.json'), 'utf8')) as Record<string, unknown>;
  const lines = stdout.trim().split('\n').map((each) => JSON.parse(each) as unknown);
  expect(lines.flatMap((each) => problems(schema, each))).toEqual([]);
  expect(lines[0]).toEqual({ case: 'one', query: 0, ok: true, changed: [['0x48000008', '0x400007fd']] });
  expect(lines[1]).toMatchObject({ abort: { el: 2, far: '0x80001000', hpfar: '0x800010' } });
});

it('--check counts and ends with 1 where an answer differs', () => {
  const { stdout, status } = granule('translate', '--cases', CASES, '--check');
  expect(stdout).toMatch(/"query":2,.*"verdict":"failed","agrees":"neither","reasons":\["par is 0x[0-9a-f]{16}, recorded 0x0000000000000001"\]/);
  expect(stdout).toMatch(/\n2 passed, 1 failed, 0 doubtful\n$/);
  expect(status).toBe(1);
});

it('--check takes a case that cannot be answered as failed, and goes on', () => {
  const file = join(scratch, 'odd.jsonl');
  const odd = [{ ...CASE, id: 'unknown', machine: 'other' }, { ...CASE, id: 'indirect', regs: { ...CASE.regs, VTCR_EL2: '0x1080210060' } }, CASE];
  writeFileSync(file, odd.map((each) => JSON.stringify(each)).join('\n'));
  const { stdout, status } = granule('translate', '--cases', file, '--check');
  expect(stdout).toContain('{"case":"unknown","query":0,"verdict":"failed","agrees":"neither","reasons":["there is no machine other"]}');
  expect(stdout).toMatch(/"case":"indirect","query":0,.*"reasons":\["registers.extension: VTCR_EL2.S2PIE is 1/);
  expect(stdout).toMatch(/\n2 passed, 7 failed, 0 doubtful\n$/);
  expect(status).toBe(1);
});
