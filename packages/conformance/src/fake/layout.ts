import { ENTRY, type EntryKind, type Field } from '@granule/contract';
import { layoutOf } from '@granule/contract/codec';
import { GRANULES, levelShift, type Granule, type Level } from '@granule/geometry';

/**
 * Bits of the fake format. Nothing is where Arm has it: the type is at bits 4:2 and rotates with the level, the write bit means read-only,
 * the access flag is bit 57, execute bits allow rather than forbid, and output-address bits 43:40 stand at bits 11:8.
 */
export const CLAUSE = 'granule fake format';

/** Output-address bits that stand at their own place, and how many more stand at {@link OA_TOP_LSB}. */
export const OA_PLAIN_BITS = 40;
export const OA_TOP_BITS = 4;
export const OA_TOP_LSB = 8;

export const TYPE_MASK = 0b111 << 2;
export const TABLE_TYPE = 5 << 2;
export const ANNOTATED_TYPE = 6 << 2;
export const LOCKED_TYPE = 7 << 2;

/**
 * Type bits of a leaf: 1 at level 0 to 4 at level 3. A leaf that is read at the wrong level is not a leaf. −1 where the format has none.
 */
export function leafType(granule: Granule, level: Level): number {
  return level === -1 || levelShift(granule, level) >= OA_PLAIN_BITS ? -1 : (level + 1) << 2;
}

/** Memory types by code, bits 42:40. */
export const MEMORY_CODES = [
  'normal-nc',
  'device-nGnRE',
  'normal',
  'device-nGnRnE',
  'normal-wt',
  'device-GRE',
  'device-nGRE',
  'reserved',
] as const;

/** Shareability by code, bits 44:43. */
export const SHAREABILITY_CODES = ['inner', 'non', 'reserved', 'outer'] as const;

const field = (name: string, msb: number, lsb = msb): Field => ({ name, msb, lsb, clause: CLAUSE });

/** Attribute fields of a leaf, the same at every level. */
export const LEAF_FIELDS = {
  contiguous: field('contiguous', 0),
  notReadable: field('NR', 1),
  privilegedExecute: field('PX', 5),
  readOnly: field('RO', 6),
  userExecute: field('UX', 7),
  memory: field('mem', 42, 40),
  shareability: field('shr', 44, 43),
  notGlobal: field('nG', 45),
  user: field('user', 46),
  software: field('software', 50, 47),
  af: field('AF', 57),
} as const;

/** Hierarchical fields of a stage-1 table descriptor. */
export const TABLE_FIELDS = {
  uxnTable: field('UXNTable', 0),
  pxnTable: field('PXNTable', 1),
  nsTable: field('NSTable', 5),
  apTable: field('APTable', 7, 6),
} as const;

export const ANNOTATION_FIELDS = { type: field('annotation', 11, 8), value: field('value', 63, 16) } as const;

const TYPE = field('type', 4, 2);
const whole = (fields: readonly Field[]): readonly Field[] => layoutOf(fields, undefined, CLAUSE);
const STAGE1_ONLY: readonly Field[] = [LEAF_FIELDS.notGlobal, LEAF_FIELDS.user];

/** Fields of an entry, most significant first, gaps named RES0. */
export function descriptorLayout(kind: EntryKind, level: Level, granule: Granule, stage: 1 | 2): readonly Field[] {
  const top = field(`OA[${OA_PLAIN_BITS + OA_TOP_BITS - 1}:${OA_PLAIN_BITS}]`, OA_TOP_LSB + OA_TOP_BITS - 1, OA_TOP_LSB);
  const plain = (shift: number) => field(`OA[${OA_PLAIN_BITS - 1}:${shift}]`, OA_PLAIN_BITS - 1, shift);
  switch (kind) {
    case ENTRY.zero:
      return [field('zero', 63, 0)];
    case ENTRY.annotated:
      return whole([...Object.values(ANNOTATION_FIELDS), TYPE]);
    case ENTRY.table:
      return whole([...(stage === 1 ? Object.values(TABLE_FIELDS) : []), plain(GRANULES[granule].pageShift), top, TYPE]);
    case ENTRY.leaf: {
      const attributes = Object.values(LEAF_FIELDS).filter((each) =>
        stage === 2 ? !STAGE1_ONLY.includes(each) : each !== LEAF_FIELDS.notReadable,
      );
      return whole([...attributes, plain(levelShift(granule, level)), top, TYPE]);
    }
  }
}
