import {
  done,
  ENTRY,
  refused,
  type Format,
  type MemoryType,
  type RangeControl,
  type Rights,
  type Shareability,
  type Stage1Control,
  type Stage2Control,
  type TableWalk,
  type TranslationControls,
  type WalkAccess,
  type WalkAnswer,
  type Walker,
  type WalkerOptions,
} from '@granule/contract';
import type { Level } from '@granule/geometry';
import { bigintHigh, bigintLow } from '@granule/geometry/bits';
import type { Access } from './access.js';
import { contextOf, type Context } from './context.js';
import { tableMemory, type DescriptorMemory } from './memory.js';
import { createTranslation, faultOf, PERMISSION, type Translation } from './result.js';
import { translateWords } from './translate.js';

/** Stage 2 alone is walked behind a stage 1 that is off, of Normal Write-Back memory: this is its name. */
const IDENTITY = 'ipa';
const TWO_PRIVILEGES: readonly string[] = ['el10', 'el20', 'pl10'];
const ONE_PRIVILEGE: readonly string[] = ['el2', 'pl2'];
const TWO_32 = 4294967296;

const SHAREABILITY: readonly Shareability[] = ['non', 'reserved', 'outer', 'inner'];
const DEVICE: readonly MemoryType[] = ['device-nGnRnE', 'device-nGnRE', 'device-nGRE', 'device-GRE'];

function cacheability(nibble: number): 'nc' | 'wt' | 'wb' {
  if (nibble === 0b0100) return 'nc';
  return (nibble & 0b0100) === 0 ? 'wt' : 'wb';
}

/** The name of memory attributes given as a MAIR byte (DDI 0487 MAIR_EL1). */
function memoryOf(byte: number): MemoryType {
  if (byte < 0x10) return (byte & 2) === 0 ? DEVICE[byte >> 2] : 'reserved';
  if (byte === 0x40) return 'normal-nc';
  if (byte === 0xa0) return 'normal-wt';
  if (byte === 0xf0) return 'normal-tagged';
  if ((byte & 15) === 0) return 'reserved';
  const outer = cacheability(byte >> 4);
  const inner = cacheability(byte & 15);
  if (outer !== inner) return `normal-${outer}-${inner}`;
  return outer === 'wb' ? 'normal' : `normal-${outer}`;
}

function hasField(format: Format, wanted: string): boolean {
  return format.layout(ENTRY.leaf, 3).some(({ name }) => name === wanted);
}

/** The fields that permissions are read from go by Arm's names. */
function isArm(format: Format): boolean {
  if (format.stage === 2) return hasField(format, 'S2AP') || hasField(format, 'HAP');
  return hasField(format, 'AP[2]') && [...TWO_PRIVILEGES, ...ONE_PRIVILEGE].includes(format.regime);
}

function isAArch32(format: Format): boolean {
  return format.stage === 2 ? hasField(format, 'HAP') : format.regime.startsWith('pl');
}

function rangeOf(format: Format | undefined, { config, root }: WalkerOptions): RangeControl {
  return {
    format,
    base: root,
    iaBits: format?.geometry.iaBits ?? 0,
    walkOff: false,
    unprivilegedOff: false,
    topByteIgnored: false,
    topByteIgnoredFetch: false,
    hierarchical: config.hpd !== true,
    shareability: config.sh ?? 3,
  };
}

function stage1Of(options: WalkerOptions): Stage1Control {
  const { format, config } = options;
  const { mair = 0n, features = {} } = config;
  const on = format.stage === 1;
  const aarch32 = on && isAArch32(format);
  const none = rangeOf(undefined, options);
  const own = rangeOf(format, options);
  return {
    regime: on ? format.regime : IDENTITY,
    on,
    unprivileged: !on || TWO_PRIVILEGES.includes(format.regime),
    state: aarch32 ? 'aarch32' : 'aarch64',
    lower: on && !format.upper ? own : none,
    upper: on && format.upper ? own : on && TWO_PRIVILEGES.includes(format.regime) && !aarch32 ? none : undefined,
    upperStart: format.upper ? TWO_32 - 2 ** format.geometry.iaBits : TWO_32,
    paBits: 52,
    bigEndian: false,
    dataCache: true,
    instructionCache: true,
    wxn: false,
    uwxn: false,
    guestHypervisor: false,
    epan: false,
    defaultCacheable: true,
    defaultTagged: false,
    mair: Array.from({ length: 8 }, (_, index) => Number((mair >> BigInt(8 * index)) & 0xffn)),
    hardwareAccess: false,
    hardwareDirty: false,
    xs: features.xs === true,
    mte: features.mte === true,
    faultLevel: aarch32 ? 1 : 0,
  };
}

function stage2Of(options: WalkerOptions): Stage2Control {
  const { format, config } = options;
  const { features = {} } = config;
  const aarch32 = isAArch32(format);
  return {
    on: true,
    range: rangeOf(format, options),
    bigEndian: false,
    protectedWalk: false,
    fwb: config.fwb === true,
    dataNonCacheable: false,
    instructionNonCacheable: false,
    xnx: features.xnx === true,
    executeNeedsRead: aarch32,
    hardwareAccess: false,
    hardwareDirty: false,
    xs: features.xs === true,
    faultLevel: aarch32 ? 1 : 0,
  };
}

function controlsOf(options: WalkerOptions): TranslationControls {
  const stage2 = options.format.stage === 2;
  return { stage1: [stage1Of(options)], virtualised: stage2 ? IDENTITY : '', stage2: stage2 ? stage2Of(options) : undefined };
}

function rightsOf(permissions: number, user: boolean): Rights {
  const shift = user ? 3 : 0;
  const has = (right: number): boolean => (permissions & (right << shift)) !== 0;
  return { read: has(PERMISSION.read), write: has(PERMISSION.write), execute: has(PERMISSION.execute) };
}

/** One set of tables under the model of the hardware. */
class ModelWalk implements TableWalk {
  readonly #context: Context;
  readonly #memory: DescriptorMemory;
  readonly #regime: string;
  readonly #twoLevels: boolean;
  /** First address of the range, as the whole word. */
  readonly #start: bigint;
  readonly #out: Translation = createTranslation();

  constructor(options: WalkerOptions) {
    const controls = controlsOf(options);
    const { format } = options;
    const [stage1] = controls.stage1;
    this.#context = contextOf(controls);
    this.#memory = tableMemory(options.memory);
    this.#regime = stage1.regime;
    this.#twoLevels = stage1.unprivileged;
    this.#start = format.upper ? 2n ** (stage1.state === 'aarch32' ? 32n : 64n) - 2n ** BigInt(format.geometry.iaBits) : 0n;
  }

  translate(ia: number, { type, privileged }: WalkAccess): WalkAnswer {
    const address = this.#start + BigInt(ia);
    const access: Access = { regime: this.#regime, type, privileged: privileged || !this.#twoLevels };
    const out = this.#out;
    if (!translateWords(this.#context, this.#memory, bigintLow(address), bigintHigh(address), access, out)) {
      return { kind: 'fault', fault: faultOf(out) };
    }
    const { output, permissions, attributes, shareability, level1, level2 } = out;
    return {
      kind: 'done',
      value: {
        output,
        level: (level2 === -2 ? level1 : level2) as Level,
        privileged: rightsOf(permissions, false),
        ...(this.#twoLevels && { user: rightsOf(permissions, true) }),
        memory: memoryOf(attributes),
        shareability: SHAREABILITY[shareability],
      },
    };
  }
}

/**
 * This model as a {@link Walker}: one set of tables, with neutral registers around it. Refused: `walker.format`, for a format whose fields do not have Arm's
 * names.
 */
export const mmu: Walker = {
  open(options) {
    const { format } = options;
    if (isArm(format)) return done(new ModelWalk(options));
    return refused('walker.format', `The regime ${format.regime} of backend ${format.backend} is not one of Arm's.`, 'DDI 0487 D8.3');
  },
};
