import { hex, toBigint, type InputAddress } from '@granule/geometry/bits';
import type { PhysicalReader } from '@granule/contract';
import { GuestTables } from './guest-tables.js';
import { ProgramHypervisor } from './hypervisor.js';
import type { OpLists } from './ops.js';

/** How a program compares with a run. */
export interface ProgramCheck {
  /** Entries that are not zero in its tables or in memory, at every checkpoint. */
  readonly entries: { equal: number; total: number };
  /** The first thing that it does not explain. */
  problem: string | undefined;
}

/** What the trace shows of a guest hypervisor, in order. */
export type Action = { readonly did: 'enter' } | { readonly did: 'invalidate'; readonly name: string } | { readonly did: 'checkpoint'; readonly name: string };

/**
 * Runs a guest hypervisor's program along its actions in a trace, and holds its tables against memory at the checkpoints. What an image does not hold is left out.
 *
 * @param base IPA of its first table
 * @param memory at the VM's IPAs, by the name of a checkpoint; undefined: no such image
 */
export function checkProgram(ops: OpLists, base: InputAddress, actions: Iterable<Action>, memory: (checkpoint: string) => PhysicalReader | undefined): ProgramCheck {
  const hypervisor = new ProgramHypervisor(ops, new GuestTables(base));
  const check: ProgramCheck = { entries: { equal: 0, total: 0 }, problem: undefined };
  for (const action of actions) {
    if (action.did === 'enter') {
      hypervisor.enter();
    } else if (action.did === 'invalidate') {
      hypervisor.invalidate(action.name);
    } else {
      hypervisor.reach(action.name);
      const image = memory(action.name);
      if (image !== undefined) {
        compare(hypervisor.memory, image, action.name, check);
      }
    }
    check.problem ??= hypervisor.problem;
  }
  return check;
}

function compare(tables: GuestTables, image: PhysicalReader, checkpoint: string, check: ProgramCheck): void {
  for (const [ipa, words] of tables.pieces()) {
    const bytes = new Uint8Array(4 * words.length);
    if (!image.read(Number(ipa), bytes)) {
      continue;
    }
    const there = new DataView(bytes.buffer);
    for (let i = 0; i < words.length; i += 2) {
      const [lo, hi] = [there.getUint32(4 * i, true), there.getUint32(4 * i + 4, true)];
      const equal = lo === words[i] && hi === words[i + 1];
      if (!equal || lo !== 0 || hi !== 0) {
        check.entries.total += 1;
        check.entries.equal += equal ? 1 : 0;
      }
      if (!equal) {
        const [program, memory] = [hex(toBigint(words[i], words[i + 1])), hex(toBigint(lo, hi))];
        check.problem ??= `by ops.txt the guest hypervisor's entry at IPA ${hex(ipa + 4 * i)} is ${program} at ${checkpoint}, and its memory has ${memory}`;
      }
    }
  }
}
