import { type Backend, type Outcome, type PhysicalReader, type Registers, done, refused } from '@granule/contract';
import type { OutputAddress } from '@granule/geometry/bits';
import type { NestedState, RegistersFile } from '@granule/snapshot';
import { openImage } from '../image/image.js';
import type { RegimeTables } from '../image/regime-tables.js';
import type { TracedTable } from './survey.js';

/** The tables that the hypervisor has in force at a checkpoint. */
export interface KernelTables {
  readonly checkpoint: string;
  readonly registers: Registers;
  /** Physical stage-2 tables: that of VTTBR_EL2, and those listed (canonical, shadows). Different roots. */
  readonly stage2: readonly RegimeTables[];
  /** The hyp table, TTBR0_EL2. */
  readonly hyp: RegimeTables | undefined;
  /** A VM with a virtual EL2: root of its own stage 2. */
  readonly canonical: OutputAddress | undefined;
  /** What the file tells of a guest hypervisor's contexts. */
  readonly nested: NestedState | undefined;
}

export interface KernelTablesInput {
  readonly checkpoint: string;
  readonly file: RegistersFile;
  readonly memory: PhysicalReader;
  readonly backends: Readonly<Record<string, Backend>>;
  readonly tableBytes?: number;
}

/** Refused: `replay.no-table` where the registers put no stage-2 table in force, and what opening the image refuses. */
export function kernelTables({ checkpoint, file, memory, backends, tableBytes }: KernelTablesInput): Outcome<KernelTables> {
  const { registers, regimes, nested } = file;
  const image = openImage({ memory, registers, regimes, backends, ...(tableBytes === undefined ? {} : { tableBytes }) });
  if (image.kind !== 'done') {
    return image;
  }
  const stage2 = new Map<OutputAddress, RegimeTables>();
  const listed = regimes.filter(({ stage, tableAddresses }) => stage === 2 && tableAddresses === 'physical').map(({ name }) => name);
  let sentence = '';
  for (const name of ['s2', ...listed]) {
    const tables = image.value.tables(name);
    if (tables.kind !== 'done') {
      sentence ||= tables.sentence;
      continue;
    }
    const [only] = tables.value;
    if (!stage2.has(only.root)) {
      stage2.set(only.root, only);
    }
  }
  if (stage2.size === 0) {
    const problem = `${checkpoint}.regs.json: there is no stage-2 table at this checkpoint: ${sentence}`;
    return refused('replay.no-table', problem, 'granule run directory');
  }
  const hyp = ['el2', 'el20'].map((name) => image.value.tables(name)).find((tables) => tables.kind === 'done');
  return done({
    checkpoint,
    registers,
    stage2: [...stage2.values()],
    hyp: hyp?.kind === 'done' ? hyp.value[0] : undefined,
    canonical: nested === undefined ? undefined : Number(BigInt.asUintN(48, nested.canonicalVTTBR_EL2) & ~0x3fn),
    nested,
  });
}

/** A traced table with what the checkpoints tell of it. */
export interface PlacedTable {
  readonly traced: TracedTable;
  /** Undefined: to be found by content at a checkpoint. */
  readonly root: OutputAddress | undefined;
  /** What says that this is its root. */
  readonly from: string;
  /** Its table at some checkpoint: geometry and format. */
  readonly like: RegimeTables;
  readonly registers: Registers;
  /** A shadow stage 2 of a VM with a virtual EL2. */
  readonly shadow: boolean;
}

/** One kernel table, as it first appears at a checkpoint. */
interface Sighting {
  readonly like: RegimeTables;
  readonly registers: Registers;
}

/**
 * Finds root and format of every traced table. An event that prints `pgd_phys` is evidence; without one the first table is the VM's own
 * stage 2, and one that is left over is the one that is left over; the rest is found by content. Undefined: no checkpoint knows the
 * table.
 */
export function placeTables(tables: readonly TracedTable[], checkpoints: readonly KernelTables[]): readonly (PlacedTable | undefined)[] {
  const sightings = new Map<OutputAddress, Sighting>();
  for (const { stage2, registers } of checkpoints) {
    for (const like of stage2.filter(({ root }) => !sightings.has(root))) {
      sightings.set(like.root, { like, registers });
    }
  }
  const canonical = checkpoints.find((each) => each.canonical !== undefined)?.canonical;
  const hyp = checkpoints.find((each) => each.hyp !== undefined);
  const own = tables.find(({ kind }) => kind === 's2');
  const rest = new Rest(tables, sightings);
  return tables.map((traced) => {
    if (traced.kind === 'hyp') {
      const like = hyp?.hyp;
      return hyp && like && { traced, root: like.root, from: like.from, like, registers: hyp.registers, shadow: false };
    }
    if (traced.root !== undefined) {
      const seen = sightings.get(traced.root);
      const shadow = canonical !== undefined && traced.root !== canonical;
      return seen && { traced, root: traced.root, from: traced.rootFrom!, ...seen, shadow };
    }
    return traced === own && canonical !== undefined ? rest.canonical(traced, canonical) : rest.of(traced, canonical !== undefined);
  });
}

/** Tables without evidence, and the roots that nothing claims. */
class Rest {
  readonly #unclaimed: Map<OutputAddress, Sighting>;
  readonly #tables: number;

  constructor(tables: readonly TracedTable[], sightings: ReadonlyMap<OutputAddress, Sighting>) {
    const claimed = new Set(tables.map(({ root }) => root));
    this.#unclaimed = new Map([...sightings].filter(([root]) => !claimed.has(root)));
    this.#tables = tables.filter(({ kind, root }) => kind === 's2' && root === undefined).length;
  }

  canonical(traced: TracedTable, root: OutputAddress): PlacedTable | undefined {
    const seen = this.#unclaimed.get(root);
    this.#unclaimed.delete(root);
    return seen && { traced, root, from: 'the first s2_init, and canonicalVTTBR_EL2', ...seen, shadow: false };
  }

  of(traced: TracedTable, shadow: boolean): PlacedTable | undefined {
    const [seen] = this.#unclaimed.values();
    const only = this.#tables === 1 && this.#unclaimed.size === 1;
    const found = only ? { root: seen.like.root, from: 'the only table without a root' } : { root: undefined, from: 'content' };
    return seen && { traced, ...found, ...seen, shadow };
  }
}
