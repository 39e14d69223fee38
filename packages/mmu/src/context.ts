import { done, notModelled, refused, type Backend, type Features, type Outcome, type RangeControl, type Registers, type Stage1Control, type Stage2Control, type TranslationControls } from '@granule/contract';
import { shareabilityMap, type Choices } from './options.js';
import { Tables } from './tables.js';

/** Stage 1 of one regime, ready to walk. */
export interface Stage1 {
  readonly control: Stage1Control;
  /** Absent where the registers are illegal. */
  readonly lower: Tables | undefined;
  readonly upper: Tables | undefined;
  /** Its output is an IPA. */
  readonly virtualised: boolean;
}

export interface Stage2 {
  readonly control: Stage2Control;
  readonly tables: Tables | undefined;
}

/** A register set, decoded: make one for each change of registers, and translate through it as often as wanted. */
export interface Context {
  readonly regimes: ReadonlyMap<string, Stage1>;
  /** Absent while stage 2 is off. */
  readonly stage2: Stage2 | undefined;
  readonly choices: Choices;
  /** SH as it acts, by SH as written. */
  readonly shareability: readonly number[];
}

export interface ContextOptions extends Choices {
  /** A guest in another state than its hypervisor: its stage 1 from this backend and these registers, stage 2 from the hypervisor's. */
  readonly guest?: { readonly backend: Backend; readonly features: Partial<Features>; readonly registers: Registers };
}

function tablesOf(range: RangeControl | undefined): Tables | undefined {
  return range?.format === undefined ? undefined : new Tables(range.format, range);
}

function stage1Of(control: Stage1Control, virtualised: boolean): Stage1 {
  return { control, lower: tablesOf(control.lower), upper: tablesOf(control.upper), virtualised };
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
    stage2: on ? { control: stage2, tables: tablesOf(stage2.range) } : undefined,
    choices,
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
