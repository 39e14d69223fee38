import { ENTRY, type EntryKind, type Field } from '@granule/contract';
import { IGNORED, layoutOf, RES1, type Row } from '@granule/contract/codec';
import { levelShift } from '@granule/geometry';
import { leafLegal, OA_BITS, tableLegal, type LevelShape } from './shape.js';

/**
 * Descriptor layouts of the ARMv7 long-descriptor format as data. Clauses are of DDI 0406C: B3.6.1 descriptor formats, B3.6.2 attributes,
 * B3.7 memory access control, B3.8 memory region attributes. Bits 51:40 are RES0: ARMv7 ignores them, an ARMv8 PE in AArch32 state gives an
 * address size fault where one of 47:40 is set.
 */

type Rows = readonly Row<LevelShape>[];

const FORMATS = 'DDI 0406C B3.6.1';
const ATTRIBUTES = 'DDI 0406C B3.6.2';
const PERMISSIONS = 'DDI 0406C B3.7.1';
const EXECUTE_NEVER = 'DDI 0406C B3.7.2';
const MEMORY = 'DDI 0406C B3.8';

/** Clauses of the fields that both stages have. */
export const COMMON_CLAUSES = { software: ATTRIBUTES, shareability: MEMORY } as const;

const twoPrivileges = ({ regime }: LevelShape): boolean => regime === 'pl10';
const onePrivilege = ({ regime }: LevelShape): boolean => regime === 'pl2';

const BOTH_STAGES: Rows = [
  { name: IGNORED, msb: 63, lsb: 59, clause: FORMATS },
  { name: 'Software', msb: 58, lsb: 55, clause: ATTRIBUTES },
  { name: 'XN', msb: 54, lsb: 54, clause: EXECUTE_NEVER },
  { name: 'Contiguous', msb: 52, lsb: 52, clause: ATTRIBUTES },
  { name: 'AF', msb: 10, lsb: 10, clause: ATTRIBUTES },
  { name: 'SH', msb: 9, lsb: 8, clause: MEMORY },
  { name: 'Type', msb: 1, lsb: 1, clause: FORMATS },
  { name: 'Valid', msb: 0, lsb: 0, clause: FORMATS },
];

const STAGE1_LEAF: Rows = [
  ...BOTH_STAGES,
  { name: 'PXN', msb: 53, lsb: 53, clause: EXECUTE_NEVER, when: twoPrivileges },
  { name: 'nG', msb: 11, lsb: 11, clause: ATTRIBUTES, when: twoPrivileges },
  { name: 'AP[2]', msb: 7, lsb: 7, clause: PERMISSIONS },
  { name: 'AP[1]', msb: 6, lsb: 6, clause: PERMISSIONS, when: twoPrivileges },
  { name: RES1, msb: 6, lsb: 6, clause: PERMISSIONS, when: onePrivilege },
  { name: 'NS', msb: 5, lsb: 5, clause: ATTRIBUTES },
  { name: 'AttrIndx', msb: 4, lsb: 2, clause: MEMORY },
];

const STAGE2_LEAF: Rows = [
  ...BOTH_STAGES,
  { name: 'HAP', msb: 7, lsb: 6, clause: PERMISSIONS },
  { name: 'MemAttr', msb: 5, lsb: 2, clause: MEMORY },
];

const BOTH_TABLES: Rows = [
  { name: IGNORED, msb: 58, lsb: 52, clause: FORMATS },
  { name: IGNORED, msb: 11, lsb: 2, clause: FORMATS },
  { name: 'Type', msb: 1, lsb: 1, clause: FORMATS },
  { name: 'Valid', msb: 0, lsb: 0, clause: FORMATS },
];

const STAGE1_TABLE: Rows = [
  ...BOTH_TABLES,
  { name: 'NSTable', msb: 63, lsb: 63, clause: ATTRIBUTES },
  { name: 'APTable', msb: 62, lsb: 61, clause: PERMISSIONS, when: twoPrivileges },
  { name: 'APTable[1]', msb: 62, lsb: 62, clause: PERMISSIONS, when: onePrivilege },
  { name: 'XNTable', msb: 60, lsb: 60, clause: EXECUTE_NEVER },
  { name: 'PXNTable', msb: 59, lsb: 59, clause: EXECUTE_NEVER, when: twoPrivileges },
];

/** An invalid entry: hardware looks at bit 0 alone; the others are software's. The note's places are those of Linux on arm64. */
const INVALID: Rows = [
  { name: 'AnnotationType', msb: 63, lsb: 60, clause: 'Linux kvm_pgtable.h KVM_INVALID_PTE_TYPE_MASK' },
  { name: 'Annotation', msb: 59, lsb: 1, clause: 'Linux kvm_pgtable.h KVM_INVALID_PTE_ANNOT_MASK' },
  { name: 'Valid', msb: 0, lsb: 0, clause: FORMATS },
];

/** The address field of a leaf (`OA`) or table (`NextLevelTable`) descriptor whose address is a multiple of 2^lsb. */
function addressRow(name: string, lsb: number): Row<LevelShape> {
  return { name: `${name}[${OA_BITS - 1}:${lsb}]`, msb: OA_BITS - 1, lsb, clause: FORMATS };
}

/**
 * The fields of a descriptor of this kind and level: all 64 bits, most significant first. Where the level has no such descriptor the layout
 * is that of an invalid entry, which is what hardware takes the word for.
 */
export function descriptorLayout(kind: EntryKind, shape: LevelShape): readonly Field[] {
  const { stage, granule, pageShift } = shape.geometry;
  switch (kind) {
    case ENTRY.zero:
    case ENTRY.annotated:
      return layoutOf(INVALID, shape, FORMATS);
    case ENTRY.leaf: {
      if (!leafLegal(shape.level)) return layoutOf(INVALID, shape, FORMATS);
      const rows = stage === 1 ? STAGE1_LEAF : STAGE2_LEAF;
      return layoutOf([...rows, addressRow('OA', levelShift(granule, shape.level))], shape, FORMATS);
    }
    case ENTRY.table: {
      if (!tableLegal(shape.level)) return layoutOf(INVALID, shape, FORMATS);
      const rows = stage === 1 ? STAGE1_TABLE : BOTH_TABLES;
      return layoutOf([...rows, addressRow('NextLevelTable', pageShift)], shape, FORMATS);
    }
  }
}
