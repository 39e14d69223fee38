import {
  ENTRY,
  type Backend,
  type Features,
  type Outcome,
  type PhysicalReader,
  type RegimeRoot,
  type Registers,
  done,
  notModelled,
  refused,
} from '@granule/contract';
import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import { createImageTables, translatedReader } from '@granule/memory';
import { lookup, newLookup } from '@granule/pgtable';
import type { NamedRegime, NestedState } from '@granule/snapshot';
import { architectureOf, armv7Registers } from './architecture.js';
import { controlOf, namedFormat, sctlrOf } from './named.js';
import { nestedRegimes } from './nested-regimes.js';
import type { RegimeTables } from './regime-tables.js';

export interface ImageInput {
  readonly memory: PhysicalReader;
  readonly registers: Registers;
  readonly regimes?: readonly NamedRegime[];
  /** What a guest hypervisor's contexts are, where one ran. */
  readonly nested?: NestedState;
  /** Backends by architecture name. */
  readonly backends: Readonly<Record<string, Backend>>;
  /** Overrides what the register names tell. */
  readonly arch?: string;
  /** CPU model (`run.json`), for registers with the names of both architectures. */
  readonly cpu?: string;
  /** Table pages that may be loaded for one regime, bytes; default 512 MiB. */
  readonly tableBytes?: number;
}

/** Memory and registers of a stopped machine, and the translation tables in them by name. */
export interface Image {
  readonly backend: Backend;
  readonly features: Features;
  readonly registers: Registers;
  /** What a guest hypervisor's contexts are, where one ran. */
  readonly nested?: NestedState;
  /** Every name that {@link tables} may be asked for; those of the architecture need not be in force. */
  readonly regimes: readonly string[];
  /**
   * The tables of a regime: one, or lower and upper range of `el10` and `el20`. Tables at IPAs are read through their stage 2. Refused:
   * `image.unknown-regime`, `image.bad-regime`, `image.regime-cycle`, and `registers.*` where the registers put no such table in force.
   */
  tables(name: string): Outcome<readonly RegimeTables[]>;
  /** The memory behind a stage-2 table, at its IPAs; permissions and access flags are left out. */
  throughStage2(stage2: RegimeTables): PhysicalReader;
}

const SOURCE = 'granule-registers/1';

/**
 * Opens an image. Refused: `image.unknown-architecture`; not modelled: `image.no-backend` for an architecture whose backend was not handed
 * in.
 */
export function openImage(input: ImageInput): Outcome<Image> {
  const arch = input.arch ?? architectureOf(input.registers, input.cpu);
  const backend = input.backends[arch];
  if (backend !== undefined) {
    const registers = arch === 'armv7-lpae' ? armv7Registers(input.registers) : input.registers;
    return done(new OpenImage({ ...input, registers }, backend));
  }
  if (arch === 'armv7-lpae') {
    return notModelled(
      'image.no-backend',
      'The registers are those of an ARMv7 machine (TTBCR), whose tables are not modelled yet.',
      SOURCE,
    );
  }
  return refused('image.unknown-architecture', `The architecture ${arch} is not one of ${Object.keys(input.backends).join(', ')}.`, SOURCE);
}

class OpenImage implements Image {
  readonly backend: Backend;
  readonly features: Features;
  readonly registers: Registers;
  readonly regimes: readonly string[];
  readonly nested?: NestedState;
  readonly #input: ImageInput;
  readonly #named: ReadonlyMap<string, NamedRegime>;
  readonly #opened = new Map<string, Outcome<readonly RegimeTables[]>>();
  readonly #opening = new Set<string>();

  constructor(input: ImageInput, backend: Backend) {
    this.backend = backend;
    this.registers = input.registers;
    this.features = backend.registers.features(input.registers);
    this.#input = input;
    const { regimes = [], nested } = input;
    if (nested !== undefined) {
      this.nested = nested;
    }
    const told = nested === undefined ? [] : nestedRegimes(nested, regimes);
    this.#named = new Map([...told, ...regimes].map((each) => [each.name, each]));
    this.regimes = [...backend.regimes, ...this.#named.keys()];
  }

  tables(name: string): Outcome<readonly RegimeTables[]> {
    const known = this.#opened.get(name);
    if (known !== undefined) {
      return known;
    }
    if (this.#opening.has(name)) {
      return refused(
        'image.regime-cycle',
        `Regime ${name} has its tables at addresses of itself, by way of ${[...this.#opening].join(', ')}.`,
        SOURCE,
      );
    }
    this.#opening.add(name);
    const opened = this.#open(name);
    this.#opening.delete(name);
    this.#opened.set(name, opened);
    return opened;
  }

  #open(name: string): Outcome<readonly RegimeTables[]> {
    const named = this.#named.get(name);
    if (named !== undefined) {
      return this.#openNamed(named);
    }
    if (!this.backend.regimes.includes(name)) {
      return refused('image.unknown-regime', `The image has no regime ${name}; it has ${this.regimes.join(', ')}.`, SOURCE);
    }
    const roots = this.backend.registers.roots(this.registers, name);
    if (roots.kind !== 'done') {
      return roots;
    }
    const opened: RegimeTables[] = [];
    for (const root of roots.value) {
      const through = root.tableAddresses === 'physical' ? undefined : this.#only('s2');
      if (through !== undefined && through.kind !== 'done') {
        return through;
      }
      opened.push(this.#make(name, root, through?.value));
    }
    return done(opened);
  }

  #openNamed(named: NamedRegime): Outcome<readonly RegimeTables[]> {
    const { tableAddresses } = named;
    const format = namedFormat(named, this.backend, this.registers, this.features);
    if (format.kind !== 'done') {
      return format;
    }
    const root = { format: format.value, root: named.root, from: named.note ?? named.name };
    if (tableAddresses === 'physical') {
      return done([this.#make(named.name, root)]);
    }
    const through = this.#only(tableAddresses.ipaOf);
    return through.kind === 'done' ? done([this.#make(named.name, root, through.value)]) : through;
  }

  /** The one table of a stage-2 regime, to read others through. */
  #only(name: string): Outcome<RegimeTables> {
    const tables = this.tables(name);
    if (tables.kind !== 'done') {
      return tables;
    }
    const [only] = tables.value;
    return only.format.stage === 2
      ? done(only)
      : refused('image.bad-regime', `Addresses cannot be IPAs of ${name}, which is a stage-1 regime.`, SOURCE);
  }

  #make(name: string, root: Pick<RegimeRoot, 'format' | 'root' | 'from' | 'range'>, through?: RegimeTables): RegimeTables {
    const { format, range } = root;
    const { pageShift } = format.geometry;
    const { tableBytes = 2 ** 29 } = this.#input;
    const reader = this.#reader(through);
    const memory = createImageTables(reader, { pageShift, maxPages: Math.max(1, Math.floor(tableBytes / 2 ** pageShift)) });
    const control = this.#controls(format.regime, format.upper);
    return {
      name,
      from: root.from,
      format,
      root: root.root,
      memory,
      reader,
      backend: this.backend,
      ...control,
      ...(range === undefined ? {} : { range }),
      ...(through === undefined ? {} : { through }),
    };
  }

  throughStage2(stage2: RegimeTables): PhysicalReader {
    return this.#reader(stage2);
  }

  #reader(through: RegimeTables | undefined): PhysicalReader {
    if (through === undefined) {
      return this.#input.memory;
    }
    return translatedReader(this.#reader(through.through), (ia) => translateOnly(through, ia), through.format.geometry.pageShift);
  }

  /** What SCTLR and TCR (VTCR) say of a regime besides the tables; absent registers say nothing. */
  #controls(regime: string, upper: boolean): Pick<RegimeTables, 'wxn' | 'uwxn' | 'hardwareAccessFlag' | 'topByteIgnored'> {
    const control = controlOf(this.backend, this.registers, regime);
    const hardwareAccessFlag = control['HA'] === 1n;
    if (regime === 's2') {
      return { wxn: false, uwxn: false, hardwareAccessFlag, topByteIgnored: false };
    }
    const tbi = regime === 'el2' ? 'TBI' : upper ? 'TBI1' : 'TBI0';
    const sctlr = sctlrOf(this.registers, regime);
    const uwxn = regime !== 'pl10' || (sctlr >> 20n) % 2n === 1n;
    return { wxn: (sctlr >> 19n) % 2n === 1n, uwxn, hardwareAccessFlag, topByteIgnored: control[tbi] === 1n };
  }
}

/**
 * PA of an IPA, −1 where it does not translate. Permissions and access flag are left out: this is how the image is read, not what the
 * machine allows.
 */
function translateOnly(tables: RegimeTables, ia: InputAddress): OutputAddress {
  const found = newLookup();
  return lookup(tables, ia, found) && found.kind === ENTRY.leaf ? found.output : -1;
}
