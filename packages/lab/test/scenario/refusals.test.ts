import { describe, expect, it } from 'vitest';
import { HEAD, refusal } from './support.js';

const NAMED = 'schema: granule-scenario/1\nname: x\n';
const DOWN = 'steps: [{ do: teardown }]\n';

/** What is wrong, the text, the place, and the field in the sentence. */
const FIELDS: readonly (readonly [what: string, yaml: string, sentence: string])[] = [
  ['nothing', '', 'x.yaml:1:1: the scenario is no object.'],
  ['a list', '- a\n', 'x.yaml:1:1: the scenario is no object.'],
  ['YAML that is none', `${NAMED}steps: [{ do: read, at: 3 `, 'x.yaml:3:27: Flow map in block collection must be sufficiently indented and end with a }.'],
  ['a field twice', `${NAMED}name: y\n${DOWN}`, 'x.yaml:3:1: Map keys must be unique.'],
  ['another schema', `schema: granule-scenario/2\nname: x\n${DOWN}`, 'x.yaml:1:1: schema is not granule-scenario/1.'],
  ['no steps', NAMED, 'x.yaml:1:1: steps is missing.'],
  ['no step', `${NAMED}steps: []\n`, 'x.yaml:3:1: steps has no step.'],
  ['an unknown field', `${NAMED}vm: { vpcus: 2 }\n${DOWN}`, 'x.yaml:3:7: vm.vpcus is a field that nobody knows.'],
  ['an unknown field of a step', `${NAMED}steps:\n  - do: read\n    at: 0\n    addr: 0\n`, 'x.yaml:6:5: steps[0].addr is a field that nobody knows.'],
  ['a step without a name', `${NAMED}steps:\n  - { at: 0 }\n`, 'x.yaml:4:5: steps[0] has no `do`, which names the step.'],
  ['an address that is none', `${NAMED}steps:\n  - { do: read, at: 0x4g }\n`, 'x.yaml:4:17: steps[0].at is not an address or a size, as 4096, 0x4000_0000 or 2M.'],
  ['no address', `${NAMED}steps:\n  - { do: read }\n`, 'x.yaml:4:5: steps[0].at is missing.'],
  ['an address beyond 2^52', `${NAMED}steps:\n  - { do: read, at: 5P }\n`, 'x.yaml:4:17: steps[0].at is beyond 2^52.'],
  ['a negative address', `${NAMED}steps: [{ do: read, at: -5 }]\n`, 'x.yaml:3:21: steps[0].at is not an address or a size, as 4096, 0x4000_0000 or 2M.'],
  ['a value of 65 bits', `${NAMED}steps: [{ do: write, at: 0, value: 0x1_0000_0000_0000_0000 }]\n`, 'x.yaml:3:29: steps[0].value is not a value of 64 bits, as 42 or 0xffff_0000.'],
  ['a number out of bounds', `${NAMED}vm: { vcpus: 65 }\n${DOWN}`, 'x.yaml:3:7: vm.vcpus is not a whole number from 1 to 64.'],
  ['a word that is none', `${NAMED}vm:\n  invalidation: never\n${DOWN}`, 'x.yaml:4:3: vm.invalidation "never" is none of each, deferred, vm-wide, elided.'],
  ['sets that are no power of 2', `${NAMED}machine: { caches: { data: { sets: 3, ways: 1 } } }\n${DOWN}`, 'x.yaml:3:30: machine.caches.data.sets is not a power of 2.'],
  ...['1e9', '0o777', '0777', '0x_', '0x4000__0000', '.inf', '.nan', '4096.5', '[1]', '~', 'true'].map((each) => [
    `${each} for an address`, `${NAMED}steps: [{ do: read, at: ${each} }]\n`, 'x.yaml:3:21: steps[0].at is not an address or a size, as 4096, 0x4000_0000 or 2M.',
  ] as const),
  ['an address beyond all numbers', `${NAMED}steps: [{ do: read, at: 99999999999999999999999999 }]\n`, 'x.yaml:3:21: steps[0].at is beyond 2^52.'],
  ['a name beside the right one', `${NAMED}steps: [{ do: read, att: 0 }]\n`, 'x.yaml:3:21: steps[0].att is a field that nobody knows.'],
  ['a field that nobody knows, deep down', `${NAMED}steps: [{ do: read, at: 0, expect: { vlaue: 1 } }]\n`, 'x.yaml:3:38: steps[0].expect.vlaue is a field that nobody knows.'],
  ['a feature that nobody knows', `${NAMED}machine: { features: { s2fbw: true } }\n${DOWN}`, 'x.yaml:3:24: machine.features.s2fbw is a field that nobody knows.'],
  ['a field of another kind', `${NAMED}memory: 3\n${DOWN}`, 'x.yaml:3:1: memory is no list.'],
  ['a step that is a text', `${NAMED}steps:\n  - read\n`, 'x.yaml:4:5: steps[0] has no `do`, which names the step.'],
  ['a word for true', `${NAMED}steps: [{ do: log-dirty, slot: 0, on: yes }]\n`, 'x.yaml:3:35: steps[0].on is not true or false.'],
  ['a count that no run has', `${NAMED}steps: [{ do: expect, counts: { fault.translaton: 1 } }]\n`, 'x.yaml:3:33: steps[0].counts.fault.translaton is no count of a run.'],
  ['a rule that there is not', `${NAMED}${DOWN}expect: { verdict: tlbi.mising }\n`, 'x.yaml:4:11: expect.verdict "tlbi.mising" is no rule that a run can break, and not clean.'],
  ['a field name with a line end', `${NAMED}vm: { "a\\nb": 1 }\n${DOWN}`, 'x.yaml:3:7: vm["a\\nb"] is a field that nobody knows.'],
  ['a prototype', `${NAMED}__proto__: { a: 1 }\n${DOWN}`, 'x.yaml:3:1: __proto__ is a field that nobody knows.'],
  ['a list for a name', `${NAMED}vm: { ? [a] : 1 }\n${DOWN}`, 'x.yaml:3:9: The name of a field is a text, and this is a list or an object.'],
  ['two documents', `${NAMED}${DOWN}---\nname: y\n`, 'x.yaml:4:1: A scenario is one document, and a second one begins here.'],
  ['a tag', `${NAMED}steps: [!odd { do: teardown }]\n`, 'x.yaml:3:9: Unresolved tag: !odd.'],
  ['a tab', `${NAMED}steps:\n\t- { do: teardown }\n`, 'x.yaml:4:1: Tabs are not allowed as indentation.'],
  ['an alias of nothing', `${NAMED}steps: [*none]\n`, 'x.yaml:3:9: Alias "none" has no anchor before it.'],
  ['an alias of itself', `${NAMED}steps: &all [*all]\n`, 'x.yaml:3:14: An alias stands for something that it is a part of itself.'],
  ['bytes that are no text', `${NAMED}steps: \u0000\uFFFD\n`, 'x.yaml:3:8: It is not text in UTF-8.'],
  ['JSON cut off', '{"schema":"granule-scenario/1","name":"x","steps":[{"do":"read","at":"0x4000', 'x.yaml:1:77: Missing closing "quote.'],
  ['JSON with a field twice', '{"schema":"granule-scenario/1","name":"x","name":"y","steps":[{"do":"teardown"}]}', 'x.yaml:1:43: Map keys must be unique.'],
  ['several', `${NAMED}vm: { a: 1 }\nhost: { b: 1 }\n${DOWN}`, 'x.yaml:3:7: vm.a is a field that nobody knows.'],
];

/** Of settings that do not go together, and of what the policy refuses. */
const SETTINGS: readonly (readonly [what: string, yaml: string, sentence: string])[] = [
  ['a CPU of another architecture', `${NAMED}machine: { arch: armv7-lpae, cpu: max }\n${DOWN}`, 'x.yaml:3:30: machine.cpu: max is not of armv7-lpae.'],
  ['a granule that the CPU has not', `${NAMED}machine: { cpu: cortex-a57 }\nhost: { granule: 16K }\n${DOWN}`, 'x.yaml:4:9: host.granule: 16K is not a stage-2 granule of this machine, which has 4K, 64K.'],
  ['an IPA size beyond the machine', `${NAMED}vm:\n  ipaBits: 60\n${DOWN}`, 'x.yaml:4:3: vm.ipaBits: VM type 0x3c asks for 60 bits of IPA; this host gives 32 to 40, in bits 7:0.'],
  [
    'slots that overlap', `${NAMED}slots:\n  - { ipa: 1G, size: 16M, hva: 0 }\n  - { ipa: 0x4010_0000, size: 16M, hva: 1G }\n${DOWN}`,
    'x.yaml:5:5: slots[1]: Slot 1 at 0x0000000040100000-0x0000000041100000 overlaps slot 0 at 0x0000000040000000-0x0000000041000000.',
  ],
  [
    'a slot beyond the IPA limit', `${HEAD}steps:\n  - { do: set-slot, slot: 5, ipa: 0xff_ffff_f000, size: 8K, hva: 0 }\n`,
    'x.yaml:6:5: steps[0]: Slot 5 ends at 0x0000010000001000, beyond the 40-bit IPA space.',
  ],
  [
    'memory beyond the physical addresses', `${NAMED}memory: [{ hva: 0, size: 4P, physical: 0 }]\n${DOWN}`,
    'x.yaml:3:10: memory[0]: physical memory ends at 0x0010000000000000, beyond the 40 bits of physical address that this machine has.',
  ],
  ['memory off the page', `${NAMED}memory: [{ hva: 16, size: 4K, physical: 0 }]\n${DOWN}`, "x.yaml:3:12: memory[0].hva: 0x0000000000000010 is not a multiple of the host's page size, 4096 bytes."],
  ['a page that no host has', `${NAMED}memory: [{ hva: 0, size: 6M, physical: 0, page: 3M }]\n${DOWN}`, 'x.yaml:3:43: memory[0].page: 0x0000000000300000 bytes are no page that a host of 4096-byte pages has.'],
  [
    'huge pages that map nothing', `${NAMED}memory: [{ hva: 0, size: 4M, physical: 1M, page: 2M }]\n${DOWN}`,
    'x.yaml:3:44: memory[0].page: hva and physical are not alike below 0x0000000000200000, so that no page of that size maps one to the other.',
  ],
  ['a vCPU that is not there', `${HEAD}steps: [{ do: read, vcpu: 3, at: 1G }]\n`, 'x.yaml:5:9: steps[0]: vcpu 3 does not exist: there is 1, number 0.'],
  ['a PE that is not there', `${HEAD}steps: [{ do: run, pe: 3 }]\n`, 'x.yaml:5:9: steps[0]: pe 3 does not exist: there is 1, number 0.'],
  ['a slot that is not there', `${HEAD}steps: [{ do: log-dirty, slot: 7, on: true }]\n`, 'x.yaml:5:9: steps[0]: There is no slot 7.'],
  ['a log of what is not logged', `${HEAD}steps: [{ do: get-dirty-log, slot: 0 }]\n`, 'x.yaml:5:9: steps[0]: Dirty pages of slot 0 are not logged.'],
  [
    'a part of a word of the log', `${HEAD}steps: [{ do: log-dirty, slot: 0, on: true }, { do: clear-dirty-log, slot: 0, first: 3, pages: 5 }]\n`,
    'x.yaml:5:47: steps[1]: Pages 3 to 8 are not whole words of 64 pages inside slot 0.',
  ],
  [
    'a slot off the page', `${NAMED}slots: [{ ipa: 0x4000_0100, size: 64K, hva: 0 }]\n${DOWN}`,
    'x.yaml:3:9: slots[0]: guest_phys_addr 0x0000000040000100 is not a multiple of the page size, 4096 bytes.',
  ],
  ['a slot of a part of a page', `${NAMED}slots: [{ ipa: 1G, size: 1000, hva: 0 }]\n${DOWN}`, 'x.yaml:3:9: slots[0]: memory_size 0x00000000000003e8 is not a multiple of the page size, 4096 bytes.'],
  ['a VM that is gone', `${HEAD}steps: [{ do: teardown }, { do: read, at: 1G }]\n`, 'x.yaml:5:27: steps[1]: read comes after the teardown of the VM.'],
  ['a register that is none', `${HEAD}steps: [{ do: register, name: FOO, value: 1 }]\n`, 'x.yaml:5:9: steps[0]: FOO is no register that armv8 knows.'],
  ['hyp steps without EL2 tables', `${HEAD}steps: [{ do: hyp-map, physical: 0, size: 4K }]\n`, 'x.yaml:5:9: steps[0]: hyp-map needs the section `hyp`.'],
  ['a cost profile that is none', `${NAMED}costs: [fast]\n${DOWN}`, 'x.yaml:3:9: costs[0]: "fast" is none of fpga-2021, kunpeng-920, xgene-2016.'],
  ['a variant twice', `${NAMED}variants: [{ name: a }, { name: a }]\n${DOWN}`, 'x.yaml:3:27: variants[1].name: "a" names two variants.'],
  ['a variant that cannot be', `${NAMED}variants:\n  - { name: a }\n  - { name: b, vm: { ipaBits: 63 } }\n${DOWN}`, 'x.yaml:5:22: variants[1].vm.ipaBits: VM type 0x3f asks for 63 bits of IPA; this host gives 32 to 40, in bits 7:0.'],
  ['hardware that the run has not', `${HEAD}fidelity: policy\nsteps: [{ do: dma, physical: 2G, value: 1 }]\n`, 'x.yaml:6:9: steps[0]: dma needs modelled hardware, and this run has the policy alone.'],
  [
    'more work than a run does', `${HEAD}steps: [{ do: read, at: 1G, count: 1000000000000 }]\n`,
    'x.yaml:5:1: steps: The steps come to 1,000,000,000,000 accesses and table entries, and a run does at most 4,294,967,296.',
  ],
];

describe('one sentence with file, line, column and field', () => {
  it.each(FIELDS)('%s', (_, yaml, sentence) => {
    expect(refusal(yaml)).toBe(sentence);
  });

  it.each(SETTINGS)('%s', (_, yaml, sentence) => {
    expect(refusal(yaml)).toBe(sentence);
  });

  it('a step that is none, with those that there are', () => {
    expect(refusal(`${NAMED}steps:\n  - { do: wirte, at: 0 }\n`)).toMatch(/^x\.yaml:4:7: steps\[0\]\.do "wirte" is no step; steps are read, write, .*, repeat\.$/);
  });

  it('brackets without end', () => {
    expect(refusal('['.repeat(20_000))).toMatch(/^x\.yaml:1:\d+: It is nested more deeply than a scenario needs\.$/);
    expect(refusal('{"a":'.repeat(5000))).toMatch(/^x\.yaml:1:\d+: It is nested more deeply than a scenario needs\.$/);
  });

  it('aliases that would grow without end', () => {
    const bomb = ['a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]', 'b: &b [*a, *a, *a, *a, *a, *a, *a]', 'c: &c [*b, *b, *b, *b, *b, *b, *b]', 'd: [*c, *c, *c, *c, *c]'].join('\n');
    expect(refusal(`${NAMED}${bomb}\n${DOWN}`)).toBe('x.yaml:4:8: Aliases make it larger than a scenario needs to be.');
  });
});

describe('a text cut off anywhere', () => {
  const whole = `${HEAD}vm: { vcpus: 2, invalidation: each }\nsteps:\n  - { do: write, at: 1G, value: 7, count: 2 }\n  - { do: expect, counts: { fault: 2 } }\nexpect: { verdict: clean }\n`;
  it('is run or refused in one sentence', () => {
    for (let end = 0; end <= whole.length; end += 1) {
      expect(refusal(whole.slice(0, end))).toMatch(/^it ran$|^x\.yaml:\d+:\d+: [^\n]*\.$/);
    }
  });
});
