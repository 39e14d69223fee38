import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Effect } from '@granule/contract';
import { readScenario, runScenario } from '@granule/lab';
import { describe, expect, it } from 'vitest';
import { BACKENDS } from '../src/backends.js';

const folder = join(import.meta.dirname, '../scenarios');

interface Suspect {
  readonly scenario: string;
  readonly variant: string;
  readonly rule: string;
  readonly address: number;
  /** The event that is to blame, and the one that shows it: in the report's words, and what the log of events has under that number. */
  readonly cause: readonly [text: RegExp, effect: Partial<Record<string, unknown>>];
  readonly exposed: readonly [text: RegExp, effect: Partial<Record<string, unknown>>];
}

const DATA = 0x8000_0000;
const GUEST = { type: 'access', address: 0x4000_0000, output: DATA } as const;
const HOST = { type: 'access', address: DATA, output: DATA, regime: 'physical', pe: 1 } as const;
const HYP = 0x8000_0100_0000;

/** The policies that reviewers suspected, and the first event that matters in the shipped scenario about each. */
const SUSPECTS: readonly Suspect[] = [
  {
    scenario: 'device-reset-elided', variant: 'elided', rule: 'tlbi.missing', address: DATA,
    cause: [/^PE 0: descriptor of 0x0000000080000000 at level 2, 0x[0-9a-f]+ to 0x0$/, { type: 'write', address: DATA, level: 2 }],
    exposed: [/^PE 0: read 0x0000000080000000 /, { type: 'access', access: 'read', address: DATA }],
  },
  {
    scenario: 'vmid-rollover', variant: 'without', rule: 'context.vmid-reuse', address: 0xc03f_c000,
    cause: [/^table 0x00000000c0004000 is taken out of use VMID 2$/, { type: 'context-retired', vmid: 2 }],
    exposed: [/^table 0x00000000c03fc000 is put in force VMID 2$/, { type: 'context-installed', vmid: 2 }],
  },
  {
    scenario: 'set-way-boot', variant: 'at once on this PE, later on the others (Linux before 2015)', rule: 'cache.set-way-not-enough', address: DATA,
    cause: [/^PE 1: DC CISW operand 0x80000000$/, { type: 'cmo', op: 'dc-cisw', pe: 1, address: 0x8000_0000 }],
    exposed: [/^PE 1: read 0x0000000040000000 /, { ...GUEST, access: 'read', pe: 1 }],
  },
  {
    scenario: 'caches-toggled', variant: 'the guest that slips through', rule: 'data.stale-read', address: DATA,
    cause: [/^PE 0: write 0x0000000040000000 .*, 0xbeef$/, { ...GUEST, access: 'write', value: 0xbeefn }],
    exposed: [/^PE 0: read 0x0000000040000000 .*, 0x0$/, { ...GUEST, access: 'read' }],
  },
  {
    scenario: 'unmap-maintenance', variant: 'at map alone', rule: 'data.stale-read', address: DATA,
    cause: [/^PE 0: write 0x0000000040000000 .*, 0x22$/, { ...GUEST, access: 'write', value: 0x22n }],
    exposed: [/^PE 1: read physical 0x0000000080000000, 0x11$/, { ...HOST, access: 'read' }],
  },
  ...['at unmap alone', 'at neither'].map((variant): Suspect => ({
    scenario: 'unmap-maintenance', variant, rule: 'data.stale-read', address: DATA,
    cause: [/^PE 1: write physical 0x0000000080000000, 0x11$/, { ...HOST, access: 'write', value: 0x11n }],
    exposed: [/^PE 0: read 0x0000000040000000 .*, 0x0$/, { ...GUEST, access: 'read' }],
  })),
  {
    scenario: 'hyp-unmap', variant: 'without', rule: 'table.freed-in-use', address: HYP,
    cause: [/^PE 0: descriptor of 0x0000800001000000 at level 2, 0x[0-9a-f]+ to 0x0$/, { type: 'write', address: HYP, level: 2 }],
    exposed: [/^table page 0x[0-9a-f]{16} is given back$/, { type: 'free' }],
  },
  {
    scenario: 'nested-contexts', variant: 'VMID (2017)', rule: 'nested.other-table', address: DATA,
    cause: [/^PE 0: descriptor of 0x0000000080000000 at level 3, 0x0 to 0x[0-9a-f]+$/, { type: 'write', address: DATA, level: 3, pe: 0 }],
    exposed: [/^PE 1: read 0x0000000080000000 .*, 0xaaaa$/, { type: 'access', address: DATA, output: 0x8100_0000, pe: 1 }],
  },
  {
    scenario: 'nested-contexts', variant: 'VMID, unmapped when BADDR changes', rule: 'nested.other-table', address: DATA,
    cause: [/^PE 1: descriptor of 0x0000000080000000 at level 3, 0x0 to 0x[0-9a-f]+$/, { type: 'write', address: DATA, level: 3, pe: 1 }],
    exposed: [/^PE 0: read 0x0000000080000000 .*, 0xbbbb$/, { type: 'access', address: DATA, output: 0x8200_0000, pe: 0 }],
  },
];

function run(scenario: string, variant: string) {
  const file = readScenario(readFileSync(join(folder, `${scenario}.yaml`), 'utf8'), scenario);
  if (file.kind !== 'done') throw new Error(file.sentence);
  const log: Effect[] = [];
  const report = runScenario(file.value.scenario, { backends: BACKENDS, log: (name) => (name === variant ? { effect: (effect) => log.push(effect) } : undefined) });
  if (report.kind !== 'done') throw new Error(report.sentence);
  return { log, violations: report.value.variants.find(({ name }) => name === variant)!.violations };
}

describe('a policy that reviewers suspected is not clean, and the report has the first event that matters', () => {
  it.each(SUSPECTS)('$scenario, $variant: $rule', ({ scenario, variant, rule, address, cause, exposed }) => {
    const { log, violations } = run(scenario, variant);
    const [first] = violations;
    expect([first.id, Number(first.address)]).toEqual([rule, address]);
    for (const [told, [text, effect]] of [[first.cause, cause], [first.exposed, exposed]] as const) {
      expect(told?.text).toMatch(text);
      expect(log[told!.event - 1]).toMatchObject(effect);
    }
  }, 30_000);
});
