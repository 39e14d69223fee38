import { done, type Outcome } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import * as z from 'zod';
import { addressOf, hexAddress, readJson } from './json.js';
import { shadowShape, typedShadow, type ShadowContext } from './registers.js';

/*
 * The JSON files of a recorded run. Their formats are not ours: the fields that are known are checked, all others are ignored.
 */

/** `run.json`. */
export interface RunFile {
  readonly run: string;
  /** The emulator's name of the CPU model, options after a comma. */
  readonly cpu: string;
  /** As `uname` prints it. */
  readonly kernel: string;
  readonly machine?: string;
  readonly memMiB?: number;
  readonly cmdline?: string;
  readonly shadows: readonly ShadowContext[];
}

export interface MemorySlot {
  readonly id: number;
  readonly ipa: InputAddress;
  readonly size: number;
  /** User address of the backing. */
  readonly hva: number;
  /** `anon-pages`, `anon-thp`, `hugetlb-default`, `hugetlb-1g`, `anon-readonly`, `pfnmap-device`, `pfnmap-wc`. */
  readonly kind: string;
  /** KVM_MEM_LOG_DIRTY_PAGES 1, KVM_MEM_READONLY 2. */
  readonly flags: number;
}

/** `slots.json`. */
export interface SlotsFile {
  readonly ipaBits: number;
  readonly pageSize: number;
  readonly vcpus: number;
  readonly slots: readonly MemorySlot[];
}

const runSchema = z.object({
  run: z.string(),
  cpu: z.string(),
  kernel: z.string(),
  machine: z.string().optional(),
  memMiB: z.number().optional(),
  cmdline: z.string().optional(),
  shadows: z.array(z.object(shadowShape)).optional(),
});

const slotsSchema = z.object({
  ipa_bits: z.int(),
  page_size: z.int(),
  vcpus: z.int(),
  slots: z.array(z.object({ id: z.int(), ipa: hexAddress, size: hexAddress, hva: hexAddress, kind: z.string(), flags: z.int() })),
});

const eventPlaceSchema = z.object({ trace: z.string(), event: z.int(), line: z.int(), time: z.string(), text: z.string() });

const stepSchema = z.object({
  n: z.int(),
  call: z.string(),
  args: z.record(z.string(), z.unknown()),
  after: eventPlaceSchema.nullish(),
  before: eventPlaceSchema.nullish(),
  events: z.tuple([z.int(), z.int()]).optional(),
  mark: z.string().optional(),
  result: z.unknown().optional(),
  returns: z.array(z.object({ event: z.int(), reason: z.string() })).optional(),
  note: z.string().optional(),
  traced: z.boolean().optional(),
  approximate: z.boolean().optional(),
});

const stepsSchema = z.object({
  run: z.string(),
  scenario: z.string(),
  variant: z.int(),
  ipaBits: z.int(),
  pageSize: z.int(),
  vcpus: z.int(),
  shadowContexts: z.int().optional(),
  traceComplete: z.boolean(),
  events: z.record(z.string(), z.int()),
  notUsed: z.array(z.string()).optional(),
  steps: z.array(stepSchema),
});

/** An event of a trace file: number from 0 (comments not counted), line from 1. */
export type EventPlace = z.infer<typeof eventPlaceSchema>;
/** What userspace did, with its place among the events; `args` are the call's, addresses and sizes as `0x…` strings. */
export type Step = z.infer<typeof stepSchema>;
/** `steps.json`. */
export type StepsFile = z.infer<typeof stepsSchema>;

/** Refused, as in all three: `json.syntax`, `json.field`. */
export function readRunFile(text: string): Outcome<RunFile> {
  const file = readJson(text, runSchema, 'run.json');
  if (file.kind !== 'done') {
    return file;
  }
  const { shadows = [], ...rest } = file.value;
  return done({ ...rest, shadows: shadows.map(typedShadow) });
}

export function readSlotsFile(text: string): Outcome<SlotsFile> {
  const file = readJson(text, slotsSchema, 'slots.json');
  if (file.kind !== 'done') {
    return file;
  }
  const { ipa_bits: ipaBits, page_size: pageSize, vcpus, slots } = file.value;
  return done({
    ipaBits,
    pageSize,
    vcpus,
    slots: slots.map(({ ipa, size, hva, ...rest }) => ({ ...rest, ipa: addressOf(ipa), size: addressOf(size), hva: addressOf(hva) })),
  });
}

export function readStepsFile(text: string): Outcome<StepsFile> {
  return readJson(text, stepsSchema, 'steps.json');
}
