import { ENTRY, type Format, type GuestMemory, type NestedGuest, type NestedState } from '@granule/contract';
import { levelShift, tableGeometry, type Granule, type Level } from '@granule/geometry';
import { bigintHigh, bigintLow } from '@granule/geometry/bits';
import type { LayerFault } from './mutants/layers.js';

/** What a guest hypervisor's stage 2 says of an address. */
export type Walked =
  | { readonly kind: 'found'; readonly output: number; readonly level: Level; readonly bytes: number; readonly read: boolean; readonly write: boolean; readonly px: boolean; readonly ux: boolean }
  | { readonly kind: 'fault'; readonly statusCode: number; readonly level: Level }
  | { readonly kind: 'retry' };

const GRANULES: readonly Granule[] = ['4K', '16K', '64K'];
const SIZES = [32, 36, 40, 42, 44, 48, 48, 48];

const fault = (code: number, level: Level): Walked => ({ kind: 'fault', statusCode: code + level, level });

/** Registers of a guest hypervisor, read. */
export interface Controls {
  readonly granule: Granule;
  readonly inputBits: number;
  readonly startLevel: number;
  readonly outputBits: number;
  readonly ha: boolean;
}

export function controlsOf(vtcr: bigint, guest: NestedGuest, broken?: LayerFault): Controls {
  const field = (lsb: number, width: number): number => Number((vtcr >> BigInt(lsb)) & BigInt(2 ** width - 1));
  const asked: Granule = (['4K', '64K', '16K', broken === 'reserved-granule-is-4k' ? '4K' : '64K'] as const)[field(14, 2)];
  const has = (granule: Granule): boolean => guest.features.granules2.includes(granule) || broken === 'granule-as-asked';
  const granule = [asked, guest.hostGranule, ...GRANULES].find(has) ?? asked;
  const ps = broken === 'ps-7-is-32-bits' && field(16, 3) === 7 ? 32 : SIZES[field(16, 3)];
  const startLevel = (granule === '4K' ? 2 : 3) - field(6, 2);
  return { granule, inputBits: 64 - field(0, 6), startLevel, outputBits: Math.min(ps, guest.ipaLimit), ha: field(21, 1) === 1 };
}

/** The guest hypervisor's tables as KVM reads them, by a plain loop; with a `broken` it does one thing wrong. */
export class ReferenceGuestWalk {
  #last: Walked | undefined;

  constructor(
    private readonly guest: NestedGuest,
    private readonly memory: GuestMemory,
    private readonly broken: LayerFault | undefined,
  ) {}

  walk(state: NestedState, ipa: number): Walked {
    if (this.broken === 'leaf-of-the-last-walk' && this.#last?.kind === 'found') return this.#last;
    this.#last = this.#walk(state, ipa);
    return this.#last;
  }

  #walk(state: NestedState, ipa: number): Walked {
    const controls = controlsOf(state.vtcr, this.guest, this.broken);
    const { granule, inputBits, startLevel, outputBits } = controls;
    if (inputBits < 25 || inputBits > 48) return fault(this.broken === 'input-size-is-a-translation-fault' ? 4 : 0, 0);
    if (this.#illegal(controls)) return fault(4, this.broken === 'bad-controls-at-the-start-level' ? (Math.max(startLevel, 1) as Level) : 0);
    const level = startLevel as Level;
    const bits = inputBits - levelShift(granule, level);
    const base = Number(BigInt.asUintN(48, state.vttbr)) - (Number(BigInt.asUintN(48, state.vttbr)) % (8 * 2 ** bits));
    if (base >= 2 ** outputBits && this.broken !== 'base-not-checked') return fault(0, 0);
    if (this.broken === 'input-bits-above-fault' && ipa >= 2 ** inputBits) return fault(4, 0);
    return this.#descend(state, controls, base, ipa % 2 ** inputBits);
  }

  #illegal({ granule, inputBits, startLevel }: Controls): boolean {
    const top = granule === '4K' ? 0 : 1;
    const small = this.guest.paBits <= (granule === '16K' ? 40 : 42) && this.broken !== 'start-level-whatever-the-pa';
    const shift = startLevel < -1 ? 99 : levelShift(granule, startLevel as Level);
    const stride = { '4K': 9, '16K': 11, '64K': 13 }[granule];
    const bits = inputBits - shift;
    const beyond = inputBits > this.guest.paBits && this.broken !== 'input-size-beyond-pa';
    // A level that cannot be resolved at all stays illegal, or a mutant would crash.
    return startLevel < top || (startLevel === top && small) || beyond || bits > stride + 4 || bits < (this.broken === 'start-level-whatever-the-pa' ? 0 : 1);
  }

  #formatOf({ granule, inputBits, startLevel }: Controls): Format {
    const geometry = tableGeometry({ stage: 2, granule, iaBits: inputBits, oaBits: 48, startLevel: startLevel as Level, ds: false });
    const made = this.guest.backend.format('s2', { geometry, features: { xnx: this.guest.features.xnx } });
    if (made.kind !== 'done') throw new Error(made.sentence);
    return made.value;
  }

  #descend(state: NestedState, controls: Controls, base: number, ipa: number): Walked {
    const { granule, inputBits, outputBits } = controls;
    const format = this.#formatOf(controls);
    let table = base;
    for (let level = controls.startLevel as Level, top = inputBits; ; level = (level + 1) as Level) {
      const shift = levelShift(granule, level);
      const at = table + 8 * (Math.floor(ipa / 2 ** shift) % 2 ** (top - shift));
      const descriptor = this.#read(at, state);
      if (descriptor === undefined) return fault(this.broken === 'no-memory-is-invalid' ? 4 : 0x14, level);
      const [lo, hi] = [bigintLow(descriptor), bigintHigh(descriptor)];
      const kind = format.kind(lo, hi, level);
      if (kind === ENTRY.leaf) return this.#leaf(state, controls, format, { at, descriptor, level }, ipa);
      const blockOfBelow = this.broken === 'blocks-everywhere' && level < 3 && format.kind(lo, hi, (level + 1) as Level) === ENTRY.leaf;
      if (blockOfBelow) return this.#leaf(state, controls, format, { at, descriptor, level }, ipa);
      if (kind !== ENTRY.table) return fault(4, level);
      table = format.tableOutput(lo, hi);
      if (table >= 2 ** outputBits && this.broken !== 'output-not-checked') return fault(0, level);
      top = shift;
    }
  }

  #leaf(state: NestedState, controls: Controls, format: Format, entry: { readonly at: number; readonly descriptor: bigint; readonly level: Level }, ipa: number): Walked {
    const { granule, outputBits, ha } = controls;
    const { at, descriptor, level } = entry;
    const [lo, hi] = [bigintLow(descriptor), bigintHigh(descriptor)];
    if (level < (granule === '4K' ? 1 : 2) && this.broken !== 'blocks-everywhere') return fault(4, level);
    const start = format.leafOutput(lo, hi, level);
    if (start >= 2 ** outputBits && this.broken !== 'output-not-checked') return fault(0, level);
    const { af, contiguous, read, write, px, ux } = format.decodeLeaf(lo, hi, level);
    const update = af || this.broken === 'access-flag-ignored' ? 'done' : this.#age(at, descriptor, format, state, ha);
    if (update === 'off') return fault(8, level);
    if (update === 'changed') return this.broken === 'race-is-a-fault' ? fault(0x14, level) : { kind: 'retry' };
    if (update !== 'done') return fault(this.broken === 'read-only-is-an-access-flag-fault' ? 8 : 0x14, level);
    const own = levelShift(granule, level);
    const joined = contiguous && this.broken !== 'contiguous-ignored' ? own + { '4K': 4, '16K': level === 3 ? 7 : 5, '64K': 5 }[granule] : own;
    const bytes = 2 ** (this.broken === 'contiguous-is-the-size' ? joined : own);
    const swap = this.broken === 'execute-bits-swapped';
    return { kind: 'found', output: start - (start % 2 ** joined) + (ipa % 2 ** joined), level, bytes, read, write, px: swap ? ux : px, ux: swap ? px : ux };
  }

  #age(at: number, descriptor: bigint, format: Format, state: NestedState, ha: boolean): 'off' | 'done' | 'changed' | 'read-only' | 'not-memory' {
    if (this.broken === 'access-flag-never-set' || !(ha || this.broken === 'access-flag-without-ha')) return 'off';
    if (this.broken === 'access-flag-lost') return 'done';
    const young = descriptor | (BigInt(format.numbers.afHi) << 32n) | BigInt(format.numbers.afLo);
    return this.memory.exchange?.(at, this.#order(descriptor, state), this.#order(young, state)) ?? 'read-only';
  }

  #read(at: number, state: NestedState): bigint | undefined {
    const bytes = new Uint8Array(8);
    return this.memory.read(at, bytes) ? this.#order(new DataView(bytes.buffer).getBigUint64(0, true), state) : undefined;
  }

  #order(value: bigint, { bigEndian = false }: NestedState): bigint {
    if (!bigEndian || this.broken === 'endianness') return value;
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, value, true);
    return view.getBigUint64(0, false);
  }
}
