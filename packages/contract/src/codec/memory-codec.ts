import type { AttributeRequest, MemoryType, Shareability } from '../format.js';
import { done, refused, type Outcome } from '../outcome.js';

/**
 * By the two bits that name them: MAIR bits 3:2, MemAttr bits 1:0. ARMv7 calls the first two Strongly-ordered and Device; the others are
 * UNPREDICTABLE there, and what their names say for an AArch32 guest of an ARMv8 PE, which is how they are read.
 */
export const DEVICE_MEMORY: readonly MemoryType[] = ['device-nGnRnE', 'device-nGnRE', 'device-nGRE', 'device-GRE'];

/** SH[1:0] (DDI 0487 D8.6.2, D8.6.7; DDI 0406C B3.8, Shareability, Long-descriptor format). */
export const SHAREABILITY: readonly Shareability[] = ['non', 'reserved', 'outer', 'inner'];

type Cacheability = 'nc' | 'wt' | 'wb';

function normal(outer: Cacheability, inner: Cacheability): MemoryType {
  if (outer !== inner) return `normal-${outer}-${inner}`;
  return outer === 'wb' ? 'normal' : `normal-${outer}`;
}

/** Stage-2 MemAttr[3:2] and [1:0] for Normal memory; 0 is Device or reserved. */
const STAGE2_CACHEABILITY: readonly (Cacheability | undefined)[] = [undefined, 'nc', 'wt', 'wb'];

/** Stage-2 MemAttr 0…15 (DDI 0487 D8.6.5, HCR_EL2.FWB = 0; DDI 0406C B3.8, Long-descriptor format, stage 2). */
export const STAGE2_MEMORY: readonly MemoryType[] = Array.from({ length: 16 }, (_, attribute) => {
  const outer = STAGE2_CACHEABILITY[attribute >> 2];
  if (outer === undefined) return DEVICE_MEMORY[attribute];
  const inner = STAGE2_CACHEABILITY[attribute & 3];
  return inner === undefined ? 'reserved' : normal(outer, inner);
});

/** Cacheability of a MAIR nibble other than 0; allocation and transient hints are dropped. */
function nibbleCacheability(nibble: number): Cacheability {
  if (nibble === 0b0100) return 'nc';
  return (nibble & 0b0100) === 0 ? 'wt' : 'wb';
}

/** One byte of a MAIR by name, without what extensions of ARMv8 add (DDI 0487 D24.2, MAIR_EL1.Attr<n>; DDI 0406C B4.1, MAIR0). */
export function plainMairMemory(byte: number): MemoryType {
  const outer = byte >> 4;
  const inner = byte & 0xf;
  if (outer === 0) return (inner & 0b0011) === 0 ? DEVICE_MEMORY[inner >> 2] : 'reserved';
  return inner === 0 ? 'reserved' : normal(nibbleCacheability(outer), nibbleCacheability(inner));
}

/** Attr<index> of a MAIR (ARMv7: MAIR1:MAIR0), 0 … 255. */
export function mairByte(mair: bigint, index: number): number {
  return Number((mair >> BigInt(8 * index)) & 0xffn);
}

/** How a backend's documents speak of memory types. */
export interface MemoryWords {
  /** Stage 1: where attributes are (`the MAIR`); stage 2: what MemAttr depends on (`with HCR_EL2.FWB 1`), or nothing. */
  readonly where: string;
  readonly source: string;
}

const indexOfType = (types: readonly MemoryType[], wanted: MemoryType): number => (wanted === 'reserved' ? -1 : types.indexOf(wanted));

const isCode = (code: number, count: number): boolean => Number.isInteger(code) && code >= 0 && code < count;

/** Memory types of stage 1: AttrIndx names a byte of the MAIR in force. */
export class Stage1Memory {
  /** Of Attr0…Attr7; `unknown` without a MAIR. */
  readonly types: readonly MemoryType[];
  /** The first attribute that is Normal Write-Back, or 0. */
  readonly defaultIndex: number;
  private readonly known: boolean;
  private readonly words: MemoryWords;

  constructor(mair: bigint | undefined, memoryOf: (byte: number) => MemoryType, words: MemoryWords) {
    this.types = Array.from({ length: 8 }, (_, index) => (mair === undefined ? 'unknown' : memoryOf(mairByte(mair, index))));
    this.defaultIndex = Math.max(0, this.types.indexOf('normal'));
    this.known = mair !== undefined;
    this.words = words;
  }

  /** Equal for two AttrIndx exactly where their memory is of one type, as far as is known. */
  key(index: number): string {
    const memory = this.types[index];
    return memory === 'unknown' || memory === 'reserved' ? `AttrIndx ${index}` : memory;
  }

  /** Refused: `attributes.attr-index`, `attributes.no-mair`, `attributes.memory-type`. */
  indexOf({ memory, attrIndex }: AttributeRequest): Outcome<number> {
    const { where, source } = this.words;
    if (attrIndex !== undefined) {
      if (isCode(attrIndex, 8)) return done(attrIndex);
      return refused('attributes.attr-index', `attrIndex ${attrIndex} is not an AttrIndx from 0 to 7.`, source);
    }
    if (memory === undefined || memory === this.types[this.defaultIndex]) return done(this.defaultIndex);
    if (!this.known) {
      return refused('attributes.no-mair', `Memory type ${memory} needs a MAIR to be found in: give mair, or attrIndex.`, source);
    }
    const found = indexOfType(this.types, memory);
    return found >= 0 ? done(found) : refused('attributes.memory-type', `No attribute of ${where} is ${memory}.`, source);
  }
}

/**
 * The MemAttr that a stage-2 request asks for; Normal Write-Back where it asks for none. Refused: `attributes.attr-index`,
 * `attributes.memory-conflict`, `attributes.memory-type`.
 *
 * @param types by MemAttr 0…15
 */
export function stage2MemAttr(
  types: readonly MemoryType[],
  { memory, attrIndex }: AttributeRequest,
  { where, source }: MemoryWords,
): Outcome<number> {
  if (attrIndex === undefined) {
    const wanted = memory ?? 'normal';
    const found = indexOfType(types, wanted);
    if (found >= 0) return done(found);
    return refused('attributes.memory-type', `No stage-2 MemAttr is ${wanted}${where === '' ? '' : ` ${where}`}.`, source);
  }
  if (!isCode(attrIndex, 16)) {
    return refused('attributes.attr-index', `attrIndex ${attrIndex} is not a stage-2 MemAttr from 0 to 15.`, source);
  }
  if (memory === undefined || memory === types[attrIndex]) return done(attrIndex);
  const sentence = `attrIndex ${attrIndex} at stage 2 is MemAttr ${types[attrIndex]}, not ${memory}; no AttrIndx belongs here.`;
  return refused('attributes.memory-conflict', sentence, source);
}
