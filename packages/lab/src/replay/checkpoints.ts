import { type Outcome, done } from '@granule/contract';
import type { OutputAddress } from '@granule/geometry/bits';
import { hex } from '@granule/geometry/bits';
import type { RegimeTables } from '../image/regime-tables.js';
import { compareTables, equalLeaves } from './compare.js';
import { type KernelTables, kernelTables, type KernelTablesInput } from './kernel-tables.js';
import type { LiveTable } from './operations.js';
import type { CheckpointComparison } from './report.js';
import { openCheckpointMemory, readCheckpointRegisters, type RunFiles } from './run-directory.js';

export type CheckpointOptions = Pick<KernelTablesInput, 'backends' | 'tableBytes'> & { readonly files: RunFiles };

/** The kernel's tables at a checkpoint by its registers, with this memory; undefined where the run has no registers of it. */
export function openCheckpoint(
  options: CheckpointOptions,
  checkpoint: string,
  memory: KernelTablesInput['memory'],
): Outcome<KernelTables | undefined> {
  const { files, backends, tableBytes } = options;
  const file = readCheckpointRegisters(files, checkpoint);
  if (file.kind !== 'done' || file.value === undefined) {
    return file as Outcome<undefined>;
  }
  return kernelTables({ checkpoint, file: file.value, memory, backends, ...(tableBytes === undefined ? {} : { tableBytes }) });
}

/** Compares tables under replay with those in the kernel's memory. Refused: what opening the memory and the registers refuses. */
export class Checkpoints {
  readonly #options: CheckpointOptions;
  /** Roots found by content. */
  readonly #roots = new Map<LiveTable, OutputAddress>();

  constructor(options: CheckpointOptions) {
    this.#options = options;
  }

  compare(checkpoint: string, live: readonly LiveTable[]): Outcome<CheckpointComparison> {
    const memory = openCheckpointMemory(this.#options.files, checkpoint);
    if (memory.kind !== 'done') {
      return memory;
    }
    if (memory.value === undefined) {
      return notCompared(checkpoint, `${checkpoint}.core(.gz)`);
    }
    const kernel = openCheckpoint(this.#options, checkpoint, memory.value);
    if (kernel.kind !== 'done') {
      return kernel;
    }
    return kernel.value === undefined ? notCompared(checkpoint, `${checkpoint}.regs.json`) : done(this.#tables(kernel.value, live));
  }

  #tables({ checkpoint, stage2, hyp }: KernelTables, live: readonly LiveTable[]): CheckpointComparison {
    this.#placeByContent(stage2, live);
    const withHyp = hyp !== undefined && live.some(({ placed }) => placed.traced.kind === 'hyp');
    const problems: string[] = [];
    const tables = (withHyp ? [...stage2, hyp] : stage2).flatMap((each) => {
      const ours = live.findLast((one) => this.#rootOf(one) === each.root);
      if (ours === undefined) {
        problems.push(`The trace does not tell how the table ${each.name} at ${hex(each.root)} was made: it was not compared.`);
        return [];
      }
      return [compareTables(ours, each)];
    });
    return { name: checkpoint, tables, problems };
  }

  #rootOf(live: LiveTable): OutputAddress | undefined {
    return live.placed.root ?? this.#roots.get(live);
  }

  /** Tables whose root no event tells: each takes the kernel's table that has most leaves in common with it. */
  #placeByContent(kernel: readonly RegimeTables[], live: readonly LiveTable[]): void {
    for (const one of live.filter((each) => this.#rootOf(each) === undefined)) {
      const claimed = new Set(live.map((each) => this.#rootOf(each)));
      const geometry = JSON.stringify(one.table.format.geometry);
      const candidates = kernel.filter(({ root, format }) => !claimed.has(root) && JSON.stringify(format.geometry) === geometry);
      const [best] = candidates.map((each) => ({ each, equal: equalLeaves(one, each) })).sort((a, b) => b.equal - a.equal);
      if (best !== undefined && best.equal > 0) {
        this.#roots.set(one, best.each.root);
      }
    }
  }
}

function notCompared(name: string, file: string): Outcome<CheckpointComparison> {
  return done({ name, tables: [], problems: [`There is no ${file}: nothing was compared.`] });
}
