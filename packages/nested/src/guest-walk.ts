import { ENTRY, type Format, type GuestMemory, type NestedGuest, type NestedState } from '@granule/contract';
import { alignDown, bigintHigh, bigintLow, fieldOf, hex, type InputAddress, type OutputAddress } from '@granule/geometry/bits';
import { entrySpan, FINAL_LEVEL, levelShift, type Granule, type Level } from '@granule/geometry';
import { GuestFormats, guestControls, INPUT_BITS, startProblem, tableBase, type GuestControls } from './guest-controls.js';

/** One entry of the guest hypervisor's tables that a walk read. */
export interface GuestEntry {
  readonly level: Level;
  /** IPA of the descriptor. */
  readonly at: OutputAddress;
  /** As the guest means it: bytes in the order of its tables. */
  readonly descriptor: bigint;
}

/** What a walk of the guest hypervisor's stage 2 finds. */
export type GuestWalk =
  | {
      readonly kind: 'mapped';
      /** The VM's IPA; CONT counts as if the whole contiguous range were aligned. */
      readonly output: InputAddress;
      readonly level: Level;
      /** Bytes of the block or page; CONT does not count. */
      readonly blockBytes: number;
      readonly read: boolean;
      readonly write: boolean;
      readonly executeEl1: boolean;
      readonly executeEl0: boolean;
    }
  | {
      readonly kind: 'fault';
      /** ESR_EL2.FSC for the guest hypervisor. */
      readonly statusCode: number;
      /** Level that the code reports. */
      readonly level: Level;
      readonly sentence: string;
      /** KVM_RUN returns an error too (a negative value of the walk): the guest hypervisor's tables are not what a guest can have. */
      readonly error: boolean;
    }
  /** A descriptor changed while its access flag was to be set (EAGAIN). */
  | { readonly kind: 'retry' };

/** First fault status codes of each kind, level 0 (DDI 0487 ESR_EL2.FSC). */
const FSC = { addressSize: 0x00, translation: 0x04, accessFlag: 0x08, externalOnWalk: 0x14 } as const;
/** Above this level KVM knows no block: 1 GiB is the largest, with 16K and 64K pages what level 2 has. */
const FIRST_BLOCK_LEVEL: Readonly<Record<Granule, Level>> = { '4K': 1, '16K': 2, '64K': 2 };
/** Access flag of a stage-2 leaf, bit 10. */
const AF = 1n << 10n;

/** log2 of the entries that the Contiguous bit joins (DDI 0487 D8.7.1): 16; with 16K pages 32 at level 2 and 128 at level 3; with 64K 32. */
function contiguousShift(granule: Granule, level: Level): number {
  return granule === '4K' ? 4 : granule === '16K' && level === FINAL_LEVEL ? 7 : 5;
}

function fault(code: number, level: Level, sentence: string, error = false): GuestWalk {
  return { kind: 'fault', statusCode: code + Math.max(level, 0), level, sentence, error };
}

/**
 * The guest hypervisor's stage 2 as KVM walks it: not as hardware would. Its checks, in its order, with its levels; bits of the IPA above the input size are
 * not looked at; permissions are left to whoever asks. With VTCR_EL2.HA the access flag is set in the guest's memory. `entries` gets what was read.
 *
 * Source: Linux walk_nested_s2_pgd (arch/arm64/kvm/nested.c).
 */
export class GuestWalker {
  readonly #formats: GuestFormats;
  readonly #bytes = new Uint8Array(8);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(
    readonly guest: NestedGuest,
    readonly memory: GuestMemory,
  ) {
    this.#formats = new GuestFormats(guest);
  }

  walk(state: NestedState, ipa: InputAddress, entries?: GuestEntry[]): GuestWalk {
    const controls = guestControls(state.vtcr, this.guest);
    const { inputBits, outputBits } = controls;
    if (inputBits < INPUT_BITS.least || inputBits > INPUT_BITS.most) {
      return fault(FSC.addressSize, 0, `VTCR_EL2.T0SZ gives ${inputBits} bits of IPA, of 25 to 48.`, true);
    }
    const problem = startProblem(controls, this.guest);
    if (problem !== undefined) {
      return fault(FSC.translation, 0, `${problem}.`, true);
    }
    const format = this.#formats.of(controls);
    if (format.kind !== 'done') {
      return fault(FSC.translation, 0, format.sentence, true);
    }
    const base = tableBase(state, controls);
    if (base >= 2 ** outputBits) {
      return fault(FSC.addressSize, 0, `VTTBR_EL2 has a table at ${hex(base)}, beyond ${outputBits} bits.`);
    }
    return this.#descend(state, controls, format.value, base, ipa, entries);
  }

  #descend(state: NestedState, controls: GuestControls, format: Format, base: OutputAddress, ipa: InputAddress, entries: GuestEntry[] | undefined): GuestWalk {
    const { granule, inputBits, startLevel, outputBits } = controls;
    let [table, level, top] = [base, startLevel, inputBits];
    for (;;) {
      const shift = levelShift(granule, level);
      const at = table + 8 * fieldOf(ipa, shift, top - shift);
      const descriptor = this.#read(at, state);
      if (descriptor === undefined) {
        return fault(FSC.externalOnWalk, level, `The descriptor at ${hex(at)} is in no memory slot.`, true);
      }
      entries?.push({ level, at, descriptor });
      const [lo, hi] = [bigintLow(descriptor), bigintHigh(descriptor)];
      const kind = format.kind(lo, hi, level);
      if (kind !== ENTRY.table && kind !== ENTRY.leaf) {
        return fault(FSC.translation, level, `The level ${level} entry ${hex(descriptor)} at ${hex(at)} is invalid.`);
      }
      if (kind === ENTRY.leaf) {
        return this.#leaf(state, controls, format, { level, at, descriptor }, ipa);
      }
      table = format.tableOutput(lo, hi);
      if (table >= 2 ** outputBits) {
        return fault(FSC.addressSize, level, `The level ${level} entry at ${hex(at)} has a table at ${hex(table)}, beyond ${outputBits} bits.`);
      }
      top = shift;
      level = (level + 1) as Level;
    }
  }

  #leaf(state: NestedState, controls: GuestControls, format: Format, { level, at, descriptor }: GuestEntry, ipa: InputAddress): GuestWalk {
    const { granule, outputBits, hardwareAccess } = controls;
    if (level < FIRST_BLOCK_LEVEL[granule]) {
      return fault(FSC.translation, level, `KVM knows no block of level ${level} with ${granule} pages.`);
    }
    const [lo, hi] = [bigintLow(descriptor), bigintHigh(descriptor)];
    const output = format.leafOutput(lo, hi, level);
    if (output >= 2 ** outputBits) {
      return fault(FSC.addressSize, level, `The level ${level} entry at ${hex(at)} leads to ${hex(output)}, beyond ${outputBits} bits.`);
    }
    if ((descriptor & AF) === 0n) {
      const set = hardwareAccess ? this.#setAccessFlag(at, descriptor, state) : 'off';
      if (set === 'changed') {
        return { kind: 'retry' };
      }
      if (set === 'off') {
        return fault(FSC.accessFlag, level, `The level ${level} entry ${hex(descriptor)} at ${hex(at)} has its access flag clear.`);
      }
      if (set !== 'done') {
        return fault(FSC.externalOnWalk, level, `The access flag at ${hex(at)} cannot be set: ${set}.`, true);
      }
    }
    const { read, write, px, ux, contiguous } = format.decodeLeaf(lo, hi, level);
    const shift = levelShift(granule, level) + (contiguous ? contiguousShift(granule, level) : 0);
    const within = ipa - alignDown(ipa, shift);
    return {
      kind: 'mapped', output: alignDown(output, shift) + within, level, blockBytes: entrySpan(granule, level), read, write, executeEl1: px, executeEl0: ux,
    };
  }

  #read(at: OutputAddress, { bigEndian = false }: NestedState): bigint | undefined {
    return this.memory.read(at, this.#bytes) ? this.#view.getBigUint64(0, !bigEndian) : undefined;
  }

  #setAccessFlag(at: OutputAddress, descriptor: bigint, { bigEndian = false }: NestedState): 'done' | 'changed' | 'read-only' | 'not-memory' {
    const word = (value: bigint): bigint => {
      this.#view.setBigUint64(0, value, !bigEndian);
      return this.#view.getBigUint64(0, true);
    };
    return this.memory.exchange?.(at, word(descriptor), word(descriptor | AF)) ?? 'read-only';
  }
}
