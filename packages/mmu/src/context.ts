import { done, notModelled, refused, type Backend, type Features, type Outcome, type Registers, type Stage1Control, type Stage2Control, type TranslationControls } from '@granule/contract';
import { decided, shareabilityMap, type Choices } from './options.js';
import { rangeOf, type Range } from './ranges.js';
import { MEMORY_KEYS } from './memory-types.js';
import { rightsBy, type Rights } from './rights.js';
import { plainBits } from './stage2.js';
import { tablesOf, type Tables } from './tables.js';

/** Stage 1 of one regime, ready to walk. */
export interface Stage1 {
  readonly control: Stage1Control;
  /** Absent where the registers are illegal. */
  readonly lower: Tables | undefined;
  readonly upper: Tables | undefined;
  readonly lowerRange: Range;
  readonly upperRange: Range | undefined;
  /** Its output is an IPA. */
  readonly virtualised: boolean;
  /** Memory attributes by {@link memoryKey}, those of stage 2 in them where there is one; 0: not asked yet. */
  readonly memory: Uint16Array;
}

export interface Stage2 {
  readonly control: Stage2Control;
  readonly tables: Tables | undefined;
  /** {@link plainBits}. */
  readonly plain: number;
  readonly rights: Rights;
}

/** A register set, decoded: make one for each change of registers, and translate through it as often as wanted. */
export interface Context {
  readonly regimes: ReadonlyMap<string, Stage1>;
  /** Absent while stage 2 is off. */
  readonly stage2: Stage2 | undefined;
  readonly choices: Required<Choices>;
  /** SH as it acts, by SH as written. */
  readonly shareability: readonly number[];
}

export interface ContextOptions extends Choices {
  /** A guest in another state than its hypervisor: its stage 1 from this backend and these registers, stage 2 from the hypervisor's. */
  readonly guest?: { readonly backend: Backend; readonly features: Partial<Features>; readonly registers: Registers };
}

/** Controls of every backend have one shape after this, whatever order each writes its fields in: walks read them without asking which it is. */
function copyOfStage1(from: Stage1Control): Stage1Control {
  return {
    regime: from.regime,
    on: from.on,
    unprivileged: from.unprivileged,
    state: from.state,
    lower: from.lower,
    upper: from.upper,
    upperStart: from.upperStart,
    paBits: from.paBits,
    bigEndian: from.bigEndian,
    dataCache: from.dataCache,
    instructionCache: from.instructionCache,
    wxn: from.wxn,
    uwxn: from.uwxn,
    guestHypervisor: from.guestHypervisor,
    epan: from.epan,
    defaultCacheable: from.defaultCacheable,
    defaultTagged: from.defaultTagged,
    mair: [...from.mair],
    hardwareAccess: from.hardwareAccess,
    hardwareDirty: from.hardwareDirty,
    xs: from.xs,
    mte: from.mte,
    faultLevel: from.faultLevel,
  };
}

function copyOfStage2(from: Stage2Control): Stage2Control {
  return {
    on: from.on,
    range: from.range,
    bigEndian: from.bigEndian,
    protectedWalk: from.protectedWalk,
    fwb: from.fwb,
    dataNonCacheable: from.dataNonCacheable,
    instructionNonCacheable: from.instructionNonCacheable,
    xnx: from.xnx,
    executeNeedsRead: from.executeNeedsRead,
    hardwareAccess: from.hardwareAccess,
    hardwareDirty: from.hardwareDirty,
    xs: from.xs,
    faultLevel: from.faultLevel,
  };
}

function stage1Of(from: Stage1Control, virtualised: boolean): Stage1 {
  const control = copyOfStage1(from);
  const lowerRange = rangeOf(control.lower, control);
  const upperRange = control.upper === undefined ? undefined : rangeOf(control.upper, control);
  return { control, lower: lowerRange.tables, upper: upperRange?.tables, lowerRange, upperRange, virtualised, memory: new Uint16Array(MEMORY_KEYS) };
}

function stage2Of(from: Stage2Control): Stage2 {
  const control = copyOfStage2(from);
  const { format } = control.range;
  const tables = format === undefined ? undefined : tablesOf(format, control.range, control.bigEndian);
  const { s2ap, xn, dbm } = tables?.slots ?? {};
  const slots = [s2ap, xn, dbm].filter((slot) => slot !== undefined);
  return { control, tables, plain: tables === undefined ? 0 : plainBits(control, tables), rights: rightsBy(slots, 0) };
}

function controlsOf(backend: Backend, features: Partial<Features>, registers: Registers, choices: Choices): Outcome<TranslationControls> {
  if (backend.contract !== 1) return refused('context.contract', `Backend ${backend.name} has contract ${String(backend.contract)}, not 1.`, 'Backend.contract');
  const controls = backend.registers.controls?.(registers, features, choices);
  return controls ?? notModelled('context.no-controls', `Backend ${backend.name} does not decode translation controls.`, 'RegisterCodec.controls');
}

/** A context of controls that no register set has: tables known by their root alone, or stage 2 asked by itself. Otherwise as {@link context}. */
export function contextOf(controls: TranslationControls, choices: Choices = {}): Context {
  const { stage2 } = controls;
  const on = stage2?.on === true;
  return {
    regimes: new Map(controls.stage1.map((control) => [control.regime, stage1Of(control, on && control.regime === controls.virtualised)])),
    stage2: on ? stage2Of(stage2) : undefined,
    choices: decided(choices),
    shareability: shareabilityMap(choices),
  };
}

/**
 * Decodes what registers say about translation. Every regime that they describe is there, stage 2 where it is on; illegal configurations are not refused:
 * they fault, as on the machine. Refused: `context.contract`; not modelled: `context.no-controls` and what the backend's `controls` does not model.
 */
export function context(backend: Backend, features: Partial<Features>, registers: Registers, options: ContextOptions = {}): Outcome<Context> {
  const host = controlsOf(backend, features, registers, options);
  if (host.kind !== 'done') return host;
  const { guest } = options;
  const inner = guest === undefined ? host : controlsOf(guest.backend, guest.features, guest.registers, options);
  if (inner.kind !== 'done') return inner;
  const made = contextOf(host.value, options);
  const own = inner.value.stage1.find(({ regime }) => regime === inner.value.virtualised);
  if (guest === undefined || own === undefined) return done(made);
  return done({ ...made, regimes: new Map([...made.regimes, [own.regime, stage1Of(own, made.stage2 !== undefined)]]) });
}
