import { readRegisters, readRunFile, readSlotsFile, readStepsFile, registersSchema } from '@granule/snapshot';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { sampleRegisters, sampleText, valueOf } from './samples.js';

const regime = { name: 'guest', stage: 1, root: '0x80100000', granuleShift: 12, iaBits: 40 };
const file = (change: Readonly<Record<string, unknown>> = {}): string =>
  JSON.stringify({ schema: 'granule-registers/1', registers: { VTCR_EL2: '0x800a3558' }, regimes: [regime], ...change });

describe('registers', () => {
  it('are 64-bit values by name', () => {
    expect(valueOf(readRegisters(file({ registers: { A: '0xffffffffffffffff', B: '0x0' } }))).registers).toEqual({ A: 2n ** 64n - 1n, B: 0n });
  });

  it('come with named regimes, whose optional fields have defaults', () => {
    expect(valueOf(readRegisters(file())).regimes).toEqual([
      { ...regime, root: 0x8010_0000, descriptorFormat: 'd64', upperRange: false, tableAddresses: 'physical' },
    ]);
    const nested = valueOf(readRegisters(file({ regimes: [{ ...regime, tableAddresses: 'ipa:stage2' }] })));
    expect(nested.regimes[0].tableAddresses).toEqual({ ipaOf: 'stage2' });
  });

  it('of a recorded run are accepted as they stand', () => {
    const { registers, regimes, machine } = sampleRegisters('T-4k-a76/c1.regs.json');
    expect([registers['VTCR_EL2'], registers['HCR_EL2']]).toEqual([0x8_00a_3558n, registers['HCR_EL2']]);
    expect(Object.keys(registers)).toHaveLength(241);
    expect(machine).toEqual({ ramBase: 0x4000_0000, ramSize: 0x8000_0000 });
    expect(regimes).toEqual([
      {
        name: 'stage2',
        stage: 2,
        root: 0x440a_a000,
        granuleShift: 12,
        iaBits: 40,
        startLevel: 1,
        rootEntries: 1024,
        descriptorFormat: 'd64',
        upperRange: false,
        tableAddresses: 'physical',
        note: 'VTTBR_EL2/VTCR_EL2',
      },
    ]);
  });

  it('of a nested run tell the contexts of the guest hypervisor', () => {
    const { nested, regimes } = sampleRegisters('G-4k-v3/c7.regs.json');
    expect(nested).toMatchObject({ runningL2: true, current: { seenAt: expect.stringMatching(/^c\d+$/u) as string } });
    expect(nested?.shadowsSeen.every(({ virtVTTBR }) => typeof virtVTTBR === 'bigint')).toBe(true);
    expect(regimes.find(({ name }) => name === 'l1-ctx3')).toMatchObject({ granuleShift: 14, tableAddresses: { ipaOf: 'stage2-canonical' } });
  });

  it.each([
    ['an unknown field', file({ extra: 1 }), 'extra is not a known field.'],
    ['an unknown field of a regime', file({ regimes: [regime, { ...regime, pages: 5 }] }), 'regimes[1].pages is not a known field.'],
    ['a register that is a number', file({ registers: { VTCR_EL2: 5 } }), 'registers.VTCR_EL2 is wrong: Invalid input: expected string, received number.'],
    ['a register of 68 bits', file({ registers: { X: '0x10000000000000000' } }), 'registers.X is not a 64-bit value written as 0x….'],
    ['a root beyond 2^52', file({ regimes: [{ ...regime, root: '0x10000000000001' }] }), 'regimes[0].root is larger than 2^52.'],
    ['a granule of 8K', file({ regimes: [{ ...regime, granuleShift: 13 }] }), 'regimes[0].granuleShift is wrong: Invalid input.'],
    ['a regime without a root', file({ regimes: [{ ...regime, root: undefined }] }), 'regimes[0].root is missing.'],
    ['another schema', file({ schema: 'granule-registers/2' }), 'schema is wrong: Invalid input: expected "granule-registers/1".'],
    ['no registers', JSON.stringify({ checkpoint: 'c1' }), 'registers is missing.'],
    ['not an object', '[1]', 'The value is wrong: Invalid input: expected object, received array.'],
    ['null', 'null', 'The value'],
  ])('with %s are refused in one sentence', (_, text, sentence) => {
    const outcome = readRegisters(text);
    expect(outcome).toMatchObject({ kind: 'refused', id: 'json.field', sentence: expect.stringContaining(sentence) as string });
  });

  it.each([
    ['{\n  "a": 1,\n  "b": }\n', '"}" cannot stand at line 3, column 8'],
    ['{"a": 1', 'the text ends at line 1, column 8'],
    ['', 'the text ends at line 1, column 1'],
    ['{\n"a": 1\n', 'the text ends at line 3, column 1'],
    ['{"a": 1,}', '"}" cannot stand at line 1, column 9'],
    ['{"a": "b', 'the text ends at line 1, column 9'],
    ['[1, 2', 'the text ends at line 1, column 6'],
    ['{"a": "b\nc"}', '"\\"" cannot stand at line 1, column 7'],
    ['{"a": "\\x"}', '"\\"" cannot stand at line 1, column 7'],
    ['{"a": 01}', '"0" cannot stand at line 1, column 7'],
    ['{"a": 1} 2', '"2" cannot stand at line 1, column 10'],
    ['{"a" 1}', '"1" cannot stand at line 1, column 6'],
    ["{'a': 1}", '"\'" cannot stand at line 1, column 2'],
    ['[}', '"}" cannot stand at line 1, column 2'],
    ['[,]', '"," cannot stand at line 1, column 2'],
  ])('that are not JSON are refused with line and column (%#)', (text, where) => {
    expect(readRegisters(text)).toMatchObject({ kind: 'refused', id: 'json.syntax', sentence: expect.stringContaining(where) as string });
  });

  it('cut at any byte are refused', () => {
    const text = sampleText('T-4k-a76/c1.regs.json').trimEnd();
    for (let size = 0; size < text.length; size += 37) expect(readRegisters(text.slice(0, size))).toMatchObject({ id: 'json.syntax' });
  });

  it('have a JSON Schema that refuses unknown fields', () => {
    expect(z.toJSONSchema(registersSchema)).toMatchObject({
      additionalProperties: false,
      required: ['schema', 'registers'],
      properties: { schema: { const: 'granule-registers/1' }, registers: { additionalProperties: { pattern: '^0x[0-9a-fA-F]{1,16}$' } } },
    });
  });
});

describe('the files of a run', () => {
  it('name kernel and CPU', () => {
    const run = valueOf(readRunFile(sampleText('T-4k-a76/run.json')));
    expect([run.run, run.cpu, run.memMiB, run.shadows]).toEqual(['T-4k-a76', 'cortex-a76', 2048, []]);
    expect(run.kernel).toContain('7.2.13');
  });

  it('list the memory slots', () => {
    const { ipaBits, pageSize, slots } = valueOf(readSlotsFile(sampleText('T-4k-a76/slots.json')));
    expect([ipaBits, pageSize, slots.length]).toEqual([40, 4096, 8]);
    expect(slots[4]).toEqual({ id: 4, ipa: 0xff_ff00_0000, size: 0x40_0000, hva: 0xffff_a100_0000, kind: 'anon-pages', flags: 0 });
  });

  it('list the steps of the VMM with their places', () => {
    const { steps, events, traceComplete } = valueOf(readStepsFile(sampleText('T-4k-a76/steps.head.json')));
    expect([steps.length, events, traceComplete]).toEqual([16, { end: 101, close: 2 }, true]);
    expect(steps[2]).toMatchObject({ n: 2, call: 'KVM_CREATE_VM', args: { ipaBits: 40 }, mark: 'T', events: [1, 1], after: { event: 0, line: 13 } });
  });

  it('may have fields that are not known, but not lack one that is', () => {
    const slots = { ipa_bits: 40, page_size: 4096, vcpus: 1, slots: [], colour: 'blue' };
    expect(readSlotsFile(JSON.stringify(slots)).kind).toBe('done');
    expect(readSlotsFile(JSON.stringify({ ...slots, page_size: undefined }))).toMatchObject({ sentence: 'page_size is missing.' });
  });
});
