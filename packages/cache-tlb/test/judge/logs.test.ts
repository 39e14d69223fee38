import { readdirSync, readFileSync } from 'node:fs';
import { readEventLog } from '@granule/snapshot';
import { describe, expect, it } from 'vitest';
import { REPORTED_RULES, RULES, type Verdict } from '../../src/index.js';
import { formatOf, newJudge, SETUPS } from './run.js';

const FOLDER = new URL('logs/', import.meta.url);

function verdictOf(name: string): Verdict {
  const judge = newJudge();
  const outcome = readEventLog(readFileSync(new URL(`${name}.jsonl`, FOLDER), 'utf8'), judge);
  expect(outcome).toMatchObject({ kind: 'done' });
  const verdict = judge.finish();
  expect(verdict.unjudged).toEqual([]);
  return verdict;
}

/** Rule, the event that is to blame, the event that exposes it, and the address, for each bad log. */
const BAD: readonly (readonly [string, number, number, number])[] = [
  ['bbm.output-address', 9, 9, 0x4000],
  ['bbm.memory-type', 9, 9, 0x4000],
  ['bbm.shareability', 9, 9, 0x4000],
  ['bbm.contiguous', 9, 9, 0x4000],
  ['bbm.table-address', 10, 10, 0x0],
  ['bbm.block-size', 8, 8, 0x200000],
  ['bbm.global', 10, 10, 0x4000],
  ['bbm.physical-space', 10, 10, 0x4000],
  ['tlbi.missing', 9, 11, 0x4000],
  ['tlbi.before-dsb', 10, 15, 0x4000],
  ['tlbi.not-completed', 11, 13, 0x4000],
  ['tlbi.wrong-address', 11, 16, 0x4000],
  ['tlbi.wrong-level', 11, 16, 0x4000],
  ['tlbi.wrong-vmid', 11, 16, 0x4000],
  ['tlbi.local', 11, 16, 0x4000],
  ['tlbi.stage1-missing', 11, 14, 0x4000],
  ['tlbi.stage1-too-early', 12, 15, 0x4000],
  ['tlbi.range-too-small', 12, 17, 0x200000],
  ['tlbi.last-level-only', 18, 23, 0x0],
  ['tlbi.wrong-asid', 12, 15, 0x4000],
  ['tlbi.leaves-too-early', 12, 17, 0x0],
  ['tlbi.wrong-regime', 12, 15, 0x4000],
  ['permission.not-invalidated', 9, 11, 0x4000],
  ['table.freed-while-linked', 6, 9, 0x40003000],
  ['table.freed-in-use', 16, 17, 0x0],
  ['table.reused-in-use', 16, 18, 0x0],
  ['context.vmid-reuse', 9, 11, 0x48000000],
  ['context.asid-reuse', 10, 12, 0x48000000],
  ['context.two-roots', 2, 10, 0x48000000],
  ['use.before-dsb', 9, 10, 0x5000],
  ['use.before-isb', 9, 11, 0x5000],
  ['tlb.conflict', 9, 11, 0x4000],
  ['data.stale-read', 9, 10, 0x80004000],
  ['data.lost-dirty-line', 10, 12, 0x80004000],
  ['code.stale-instructions', 9, 13, 0x80004000],
  ['cache.set-way-not-enough', 10, 12, 0x80004000],
];

describe('the log that breaks the rule', () => {
  it.each(BAD)('%s: cause %i, exposed by %i', (rule, cause, exposed, address) => {
    const { violations } = verdictOf(`${rule}.bad`);
    expect(violations.map((each) => [each.rule.id, each.cause, each.exposed, each.address])).toEqual([[rule, cause, exposed, address]]);
  });
});

describe('the log that keeps the rule', () => {
  it.each(BAD.map(([rule]) => rule))('%s', (rule) => {
    expect(verdictOf(`${rule}.good`).violations).toEqual([]);
  });
});

/**
 * How much a range or an address must touch: of a block any part, whatever pieces of it TLBs hold (DDI 0487 D8.17, R_TVTYQ); of a table that held leaves, the first
 * and the last of these. In Linux until 6.8 the range for a replaced table began where the fault was (stage2_try_break_pte): `tlbi.range-too-small.bad`.
 */
const REACHES: readonly (readonly [string, number, number, number])[] = [
  ['beside-a-block', 9, 14, 0x200000],
  ['one-of-two-leaves', 12, 17, 0x200000],
  ['short-of-the-last-leaf', 12, 17, 0x200000],
];

describe('an invalidation reaches what it touches', () => {
  it.each(REACHES)('%s: cause %i, exposed by %i', (name, cause, exposed, address) => {
    const { violations } = verdictOf(`range.${name}.bad`);
    expect(violations.map((each) => [each.rule.id, each.cause, each.exposed, each.address])).toEqual([['tlbi.range-too-small', cause, exposed, address]]);
    expect(verdictOf(`range.${name}.good`).violations).toEqual([]);
  });
});

/** The same rules where the operations have other names: AArch32's. */
const ARMV7: readonly (readonly [string, number, number, number])[] = [
  ['bbm.output-address', 9, 9, 0x4000],
  ['tlbi.missing', 9, 13, 0x4000],
  ['tlbi.before-dsb', 10, 13, 0x4000],
  ['tlbi.not-completed', 11, 14, 0x4000],
  ['tlbi.local', 11, 14, 0x4000],
  ['tlbi.wrong-vmid', 11, 14, 0x4000],
  ['tlbi.wrong-regime', 11, 14, 0x4000],
  ['tlbi.stage1-missing', 11, 14, 0x4000],
  ['tlbi.wrong-address', 12, 15, 0x4000],
  ['tlbi.wrong-asid', 12, 15, 0x4000],
  ['tlbi.last-level-only', 17, 20, 0x0],
  ['tlbi.range-too-small', 12, 15, 0x0],
  ['context.vmid-reuse', 9, 13, 0x48000000],
  ['use.before-dsb', 15, 17, 0x4000],
  ['use.before-isb', 15, 17, 0x4000],
];

describe('the log that breaks the rule by the operations of ARMv7', () => {
  it.each(ARMV7)('%s: cause %i, exposed by %i', (rule, cause, exposed, address) => {
    const { violations } = verdictOf(`armv7.${rule}.bad`);
    expect(violations.map((each) => [each.rule.id, each.cause, each.exposed, each.address])).toEqual([[rule, cause, exposed, address]]);
    expect(verdictOf(`armv7.${rule}.good`).violations).toEqual([]);
  });
});

describe('what a model of the hardware reports is passed on, with its cause', () => {
  it.each([
    ['data.stale-read', 9],
    ['data.lost-dirty-line', 10],
    ['code.stale-instructions', 9],
    ['cache.set-way-not-enough', 10],
  ])('%s', (rule, cause) => {
    const { violations } = verdictOf(`reported.${rule}`);
    expect(violations.map((each) => [each.rule.id, each.cause, each.exposed, each.address])).toEqual([[rule, cause, 11, 0x80004000]]);
  });
});

describe('what the architecture allows', () => {
  const allowed = readdirSync(FOLDER).flatMap((name) => /^allowed\.(.*)\.jsonl$/u.exec(name)?.[1] ?? []);
  it.each(allowed)('%s', (name) => {
    expect(verdictOf(`allowed.${name}`)).toMatchObject({ violations: [], contexts: name === 'vmid-rollover' ? 2 : 1 });
  });
});

describe('the rules', () => {
  const named = BAD.map(([rule]) => rule);

  it('each has a bad and a good log', () => {
    expect([...Object.keys(RULES), ...Object.keys(REPORTED_RULES)].filter((rule) => !named.includes(rule))).toEqual([]);
  });

  it('so has every break-before-make rule of the formats: every change of one bit of a valid entry is looked at', () => {
    const ids = SETUPS.map(formatOf).flatMap((format) =>
      [0x8000_0f7d, 0x8000_0f7f].flatMap((lo) =>
        Array.from(
          { length: 64 },
          (_, bit) =>
            format.mustBreak(lo, 0, bit < 32 ? (lo ^ (1 << bit)) >>> 0 : lo, bit < 32 ? 0 : (1 << (bit - 32)) >>> 0, 2)?.id ?? 'none',
        ),
      ),
    );
    const found = [...new Set(ids)].filter((id) => id !== 'none');
    expect(found.length).toBe(8);
    expect(found.filter((id) => !named.includes(id))).toEqual([]);
  });

  it.each(Object.entries({ ...RULES, ...REPORTED_RULES }))('%s has a clause and one sentence', (_, { clause, sentence }) => {
    expect(clause).toMatch(/^DDI 0487 /u);
    expect(sentence).toMatch(/^[A-Z].*\.$/u);
  });
});
