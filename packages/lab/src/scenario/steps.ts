import { z } from 'zod';
import { accessExpectation, counts } from './expectations.js';
import { memory, slot } from './machine-schema.js';
import { amount, fields, oneOf, shown, text, whole, word, yes } from './values.js';

const vcpu = whole(0, 63).optional().describe('Default 0.');
const pe = whole(0, 63).optional().describe('The PE that the host works on; default 0.');
const refused = text.optional().describe('The id of the refusal that must come of it (slot.overlap).');
const regular = {
  count: whole(1, 2 ** 40).optional().describe('How often, each time `stride` further; default once.'),
  stride: amount.optional().describe('Default a page.'),
};
const access = {
  vcpu,
  at: amount.describe("The guest's address: an IPA as long as its MMU is off."),
  bytes: whole(1, 8).optional().describe('Default 8; fetch: 4.'),
  privileged: yes.optional().describe('Default true.'),
  ...regular,
  expect: accessExpectation.optional(),
};
const range = { hva: amount, size: amount };
const regions = { ipa: amount, size: amount };

/** What the guest does. */
const guestSteps = [
  fields({ do: z.literal('read'), ...access }),
  fields({ do: z.literal('write'), ...access, value: word.optional().describe('Default 0.') }),
  fields({ do: z.literal('fetch'), ...access }),
  fields({
    do: z.literal('run'), vcpu, pe: whole(0, 63),
  }).describe('The vCPU runs on this PE from here on.'),
  fields({
    do: z.literal('set-way'), vcpu, op: oneOf('ISW', 'CSW', 'CISW'),
    operand: amount.optional().describe('Absent: every set and way of the L1 data cache, one after the other, as a guest flushes "its" cache.'),
  }),
  fields({ do: z.literal('register'), vcpu, name: text, value: word }).describe('The guest writes a system register.'),
  fields({ do: z.literal('mmu'), vcpu, on: yes, caches: yes.optional().describe('SCTLR.C and I; default as `on`.') })
    .describe('The guest writes SCTLR: M, C and I.'),
  fields({
    do: z.literal('stage1'), vcpu, table: amount.describe('IPA of the first table page.'),
    map: z.array(fields({ va: amount, ipa: amount, size: amount, memory: oneOf('normal', 'normal-nc', 'device').optional(), writable: yes.optional() })).min(1),
    asid: whole(0, 2 ** 16 - 1).optional(),
  }).describe("The guest writes a translation table with its own stores, and puts it into TTBR0; the MMU stays as it is."),
  fields({
    do: z.literal('tlbi'), vcpu, op: text, operand: word.optional(),
    vmid: whole(0, 2 ** 16 - 1).optional().describe('At virtual EL2: in VTTBR_EL2 when it is executed; default as it was when the guest was entered last.'),
  }),
  fields({ do: z.literal('dc'), vcpu, op: oneOf('CIVAC', 'CVAC', 'IVAC', 'CVAU', 'ZVA'), at: amount, ...regular }).describe('Stride: default a cache line.'),
  fields({ do: z.literal('ic'), vcpu, op: oneOf('IVAU', 'IALLU', 'IALLUIS'), at: amount.optional(), ...regular }),
  fields({ do: z.literal('at'), vcpu, write: yes.optional(), at: amount, expect: accessExpectation.optional() }),
  fields({ do: z.literal('barrier'), vcpu, op: oneOf('dsb-ish', 'dsb-ishst', 'dsb-nsh', 'dsb-sy', 'isb') }),
] as const;

/** What a guest hypervisor does, at its virtual EL2. */
const nestedSteps = [
  fields({
    do: z.literal('stage2'), vcpu, table: amount.describe('IPA of the first table page.'),
    granule: oneOf('4K', '16K', '64K').optional().describe("Default the host's page size."),
    ipaBits: whole(1, 64).optional().describe('Input size; default 40.'),
    map: z.array(fields({
      ipa: amount.describe("The nested guest's address."), to: amount.describe("The VM's."), size: amount, writable: yes.optional(), executable: yes.optional(),
    })).optional().describe('Replaces what was there.'),
    unmap: z.array(fields(regions)).optional(),
  }).describe("The guest hypervisor writes a stage-2 table for a guest of its own, or changes it, with its own stores."),
  fields({
    do: z.literal('enter'), vcpu, vmid: whole(0, 2 ** 16 - 1), table: amount.optional().describe('Of a step stage2; absent: its stage 2 is off (HCR_EL2.VM = 0).'),
  }).describe('The guest hypervisor enters its guest.'),
  fields({ do: z.literal('leave'), vcpu }).describe('The nested guest takes an exception to virtual EL2.'),
  fields({
    do: z.literal('chain'), vcpu, at: amount, expect: fields({ standing: oneOf('composed', 'absent', 'stale') }).optional(),
  }).describe('The report follows this address of the nested guest through all tables.'),
] as const;

/** What the host does, its VMM or its kernel. */
const hostSteps = [
  slot.extend({ do: z.literal('set-slot'), pe, refused }).describe('Makes, moves or changes a slot.'),
  fields({ do: z.literal('delete-slot'), slot: whole(0, 2 ** 31 - 1), pe, refused }),
  memory.extend({ do: z.literal('back') }).describe('The host maps other memory here (it has told its notifiers before, or not).'),
  fields({ do: z.literal('notifier-unmap'), ...range, pe, refused }),
  fields({ do: z.literal('age'), ...range, clear: yes.optional().describe('Default true.'),
    flush: yes.optional().describe('TLB entries of what was young go (page reclaim); default false.'), pe, expect: fields({ young: yes }).optional() }),
  fields({ do: z.literal('log-dirty'), slot: whole(0, 2 ** 31 - 1), on: yes, pe, refused }),
  fields({
    do: z.literal('get-dirty-log'), slot: whole(0, 2 ** 31 - 1), pe,
    expect: fields({ pages: whole(0, 2 ** 40) }).optional().describe('Pages that are dirty.'),
  }),
  fields({
    do: z.literal('clear-dirty-log'), slot: whole(0, 2 ** 31 - 1), pe,
    first: whole(0, 2 ** 40).optional().describe('A multiple of 64 pages; default 0.'),
    pages: whole(1, 2 ** 40).optional().describe('Default to the end of the slot.'),
    mask: word.optional().describe('Of each 64 pages those whose bit is set; default all.'),
  }),
  fields({ do: z.literal('ioremap'), ...regions, physical: amount, policy: oneOf('pages', 'pmd-blocks', 'largest-block').optional(), pe, refused }),
  fields({ do: z.literal('unmap'), ...regions, pe, refused }).describe('Takes a range out of stage 2, with the policy of the VM.'),
  fields({ do: z.literal('teardown'), pe }),
  fields({ do: z.literal('reset-vcpu'), vcpu }).describe('KVM_ARM_VCPU_INIT again, as at a reboot of the guest.'),
  fields({ do: z.literal('other-vms'), count: whole(1, 2 ** 16), pe }).describe('So many other VMs run once on this PE: each takes a VMID.'),
  fields({ do: z.literal('host-write'), hva: amount, value: word, bytes: whole(1, 8).optional(), pe }).describe('The VMM writes, cacheably.'),
  fields({ do: z.literal('host-read'), hva: amount, bytes: whole(1, 8).optional(), pe, expect: accessExpectation.optional() }),
  fields({ do: z.literal('observe'), physical: amount, bytes: whole(1, 8).optional(), expect: accessExpectation.optional() })
    .describe('A device that is not coherent reads memory behind all caches.'),
  fields({ do: z.literal('dma'), physical: amount, value: word, bytes: whole(1, 8).optional() }).describe('A device that is not coherent writes memory.'),
] as const;

/** What happens to EL2's own table. */
const hypSteps = [
  fields({ do: z.literal('hyp-map'), physical: amount, size: amount, kind: oneOf('code', 'data', 'rodata', 'device').optional() })
    .describe('An object of the kernel, at its hyp address; default data.'),
  fields({ do: z.literal('hyp-unmap'), physical: amount, size: amount, expect: fields({ bytes: amount }).optional() }),
  fields({ do: z.literal('hyp-stack'), physical: amount, size: amount }),
  fields({ do: z.literal('hyp-private'), physical: amount, size: amount, kind: oneOf('code', 'data', 'rodata', 'device').optional() }),
  fields({ do: z.literal('hyp-share'), physical: amount, size: amount }),
  fields({ do: z.literal('hyp-unshare'), physical: amount, size: amount }),
  fields({
    do: z.literal('hyp-access'), access: oneOf('read', 'write', 'fetch').optional(), pe, expect: accessExpectation.optional(),
    physical: amount.describe('The byte of the linear map to which EL2 goes.'),
  }),
] as const;

const metaSteps = [
  fields({ do: z.literal('phase'), name: text }).describe('A new phase: the report counts by phases.'),
  fields({ do: z.literal('expect'), counts, source: text.optional() }).describe('Counts of the phase so far.'),
] as const;

const single = [...guestSteps, ...nestedSteps, ...hostSteps, ...hypSteps, ...metaSteps] as const;

/** Step names, in the order of the schema. */
export const STEP_NAMES: readonly string[] = [...single.map((each) => each.shape.do.value), 'repeat'];

const unknown = ({ input }: { input?: unknown }): string => {
  const name: unknown = typeof input === 'object' && input !== null && 'do' in input ? input.do : undefined;
  return name === undefined ? 'has no `do`, which names the step' : `do ${shown(name)} is no step; steps are ${STEP_NAMES.join(', ')}`;
};

const singleStep = z.discriminatedUnion('do', single, { error: unknown }).meta({ id: 'step' });
const repeat = fields({
  do: z.literal('repeat'),
  times: whole(1, 2 ** 20),
  steps: z.array(singleStep).min(1),
}).describe('Steps, so many times over.');

export const step = z.discriminatedUnion('do', [singleStep, repeat], { error: unknown });

export type SingleStep = z.output<typeof singleStep>;
export type Step = z.output<typeof step>;
export type StepInput = z.input<typeof step>;
export type StepName = Step['do'];
/** The step of one name. */
export type StepOf<Name extends StepName> = Extract<Step, { readonly do: Name }>;
