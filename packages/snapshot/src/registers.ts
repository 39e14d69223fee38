import { done, type Outcome, type Registers } from '@granule/contract';
import type { OutputAddress } from '@granule/geometry/bits';
import * as z from 'zod';
import { addressOf, hexAddress, hexWord, readJson, wordOf } from './json.js';

export const REGISTERS_SCHEMA_NAME = 'granule-registers/1';

/** A translation table worth walking, by a name of its own. */
export interface NamedRegime {
  readonly name: string;
  readonly stage: 1 | 2;
  readonly root: OutputAddress;
  /** log2 of the granule: 12, 14, 16. */
  readonly granuleShift: number;
  readonly iaBits: number;
  /** −1…3; absent: follows from granule and input size. */
  readonly startLevel?: number;
  /** Entries of the root, concatenated tables included. */
  readonly rootEntries?: number;
  /** Output addresses of 48 bits, of 52 bits with 64K, or of 52 bits with DS = 1. */
  readonly descriptorFormat: 'd64' | 'lpa' | 'lpa2';
  /** Input addresses are those of the upper VA range. */
  readonly upperRange: boolean;
  /** `physical`, or the name of the regime that translates the addresses of tables, the root included. */
  readonly tableAddresses: 'physical' | { readonly ipaOf: string };
  readonly note?: string;
}

export interface ShadowContext {
  readonly hwVTTBR: bigint;
  readonly hwVTCR: bigint;
  readonly virtVTTBR: bigint;
  readonly virtVTCR: bigint;
  readonly virtHCR: bigint;
  readonly seenAt: string;
}

/** What a nested run knows of the guest hypervisor's contexts. */
export interface NestedState {
  readonly canonicalVTTBR_EL2: bigint;
  readonly runningL2: boolean;
  readonly current?: ShadowContext;
  readonly shadowsSeen: readonly ShadowContext[];
}

export interface RegistersFile {
  /** By their Arm names. */
  readonly registers: Registers;
  readonly regimes: readonly NamedRegime[];
  readonly machine?: { readonly ramBase: OutputAddress; readonly ramSize: number };
  readonly nested?: NestedState;
}

const regimeShape = {
  name: z.string().min(1),
  stage: z.union([z.literal(1), z.literal(2)]),
  root: hexAddress,
  granuleShift: z.union([z.literal(12), z.literal(14), z.literal(16)]),
  iaBits: z.int().min(1).max(56),
  startLevel: z.int().min(-1).max(3).optional(),
  rootEntries: z.int().min(1).max(2 ** 17).optional(),
  descriptorFormat: z.enum(['d64', 'lpa', 'lpa2']).optional(),
  upperRange: z.boolean().optional(),
  tableAddresses: z.string().regex(/^(?:physical|ipa:.+)$/u, 'is neither "physical" nor "ipa:" and the name of a regime').optional(),
  note: z.string().optional(),
};
const machineShape = { ramBase: hexAddress, ramSize: hexAddress };
export const shadowShape = { hwVTTBR: hexWord, hwVTCR: hexWord, virtVTTBR: hexWord, virtVTCR: hexWord, virtHCR: hexWord, seenAt: z.string() };
const nestedShape = { canonicalVTTBR_EL2: hexWord, runningL2: z.boolean() };

/** `granule-registers/1`, as it is written: words and addresses are `0x…` strings. Unknown fields are refused. */
export const registersSchema = z.strictObject({
  schema: z.literal(REGISTERS_SCHEMA_NAME),
  registers: z.record(z.string(), hexWord),
  regimes: z.array(z.strictObject(regimeShape)).optional(),
  machine: z.strictObject(machineShape).optional(),
  nested: z
    .strictObject({
      ...nestedShape,
      current: z.strictObject(shadowShape).nullable(),
      shadowsSeen: z.array(z.strictObject(shadowShape)),
    })
    .optional(),
});

/** The registers of a recorded run (`cN.regs.json`): the same fields without `schema`, among others that are not used here. */
const runRegistersSchema = z.object({
  schema: z.undefined().optional(),
  registers: z.record(z.string(), hexWord),
  regimes: z.array(z.object(regimeShape)).optional(),
  machine: z.object(machineShape).optional(),
  nested: z.object({ ...nestedShape, current: z.object(shadowShape).nullable(), shadowsSeen: z.array(z.object(shadowShape)) }).optional(),
});

type Written = Omit<z.infer<typeof registersSchema>, 'schema'>;

/**
 * Registers of an image. A text with a `schema` field is `granule-registers/1`, and fields that it does not know are refused; a text without one is the
 * `cN.regs.json` of a recorded run, whose other fields are ignored. Refused: `json.syntax`, `json.field`; the sentence has the line or the field.
 */
export function readRegisters(text: string): Outcome<RegistersFile> {
  const schema = hasSchema(text) ? registersSchema : runRegistersSchema;
  const file = readJson<Written>(text, schema, REGISTERS_SCHEMA_NAME);
  return file.kind === 'done' ? done(typed(file.value)) : file;
}

/** Text that is not JSON is the reader's to report. */
function hasSchema(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && 'schema' in value;
  } catch {
    return false;
  }
}

function typed({ registers, regimes = [], machine, nested }: Written): RegistersFile {
  return {
    registers: Object.fromEntries(Object.entries(registers).map(([name, value]) => [name, wordOf(value)])),
    regimes: regimes.map(({ root, descriptorFormat = 'd64', upperRange = false, tableAddresses = 'physical', ...rest }) => ({
      ...rest,
      root: addressOf(root),
      descriptorFormat,
      upperRange,
      tableAddresses: tableAddresses === 'physical' ? 'physical' : { ipaOf: tableAddresses.slice('ipa:'.length) },
    })),
    ...(machine && { machine: { ramBase: addressOf(machine.ramBase), ramSize: addressOf(machine.ramSize) } }),
    ...(nested && { nested: typedNested(nested) }),
  };
}

function typedNested({ canonicalVTTBR_EL2, runningL2, current, shadowsSeen }: NonNullable<Written['nested']>): NestedState {
  return {
    canonicalVTTBR_EL2: wordOf(canonicalVTTBR_EL2),
    runningL2,
    ...(current && { current: typedShadow(current) }),
    shadowsSeen: shadowsSeen.map(typedShadow),
  };
}

/** The words of a context that was seen running. */
export function typedShadow({ seenAt, ...words }: NonNullable<Written['nested']>['shadowsSeen'][number]): ShadowContext {
  return {
    hwVTTBR: wordOf(words.hwVTTBR),
    hwVTCR: wordOf(words.hwVTCR),
    virtVTTBR: wordOf(words.virtVTTBR),
    virtVTCR: wordOf(words.virtVTCR),
    virtHCR: wordOf(words.virtHCR),
    seenAt,
  };
}
