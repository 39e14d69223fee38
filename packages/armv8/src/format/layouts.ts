import { ENTRY, type EntryKind, type Field } from '@granule/contract';
import { IGNORED, layoutOf, type Row } from '@granule/contract/codec';
import { levelShift } from '@granule/geometry';
import { leafLegal, plainBits, topField, type LevelShape } from './shape.js';

/**
 * Descriptor layouts of VMSAv8-64 as data. Clauses are of DDI 0487 (M.a.a numbering): D8.3.1 descriptor formats, D8.4 memory access control,
 * D8.5 hardware updates, D8.6 memory region attributes, D8.7 other fields, D8.16.3 ASIDs.
 */

type Rows = readonly Row<LevelShape>[];

const FORMATS = 'DDI 0487 D8.3.1';
const PERMISSIONS = 'DDI 0487 D8.4.1';
const HIERARCHICAL = 'DDI 0487 D8.4.1.2';
const MEMORY = 'DDI 0487 D8.6';
const SECURITY = 'DDI 0487 D8.4.6';
const OTHER = 'DDI 0487 D8.7';

/** Clauses of the fields that both stages have. */
export const COMMON_CLAUSES = { software: FORMATS, shareability: MEMORY } as const;

const hasShareability = ({ geometry }: LevelShape): boolean => !geometry.ds;
const isBlock = ({ level }: LevelShape): boolean => level < 3;
const twoPrivileges = ({ regime }: LevelShape): boolean => regime === 'el10' || regime === 'el20';
const onePrivilege = ({ regime }: LevelShape): boolean => regime === 'el2';

const BOTH_STAGES: Rows = [
  { name: IGNORED, msb: 63, lsb: 59, clause: FORMATS, when: ({ features }) => features.hpds2 !== true },
  { name: IGNORED, msb: 63, lsb: 63, clause: FORMATS, when: ({ features }) => features.hpds2 === true },
  { name: 'PBHA', msb: 62, lsb: 59, clause: `${OTHER}.2`, when: ({ features }) => features.hpds2 === true },
  { name: 'Software', msb: 58, lsb: 55, clause: FORMATS },
  { name: 'Contiguous', msb: 52, lsb: 52, clause: `${OTHER}.1` },
  { name: 'DBM', msb: 51, lsb: 51, clause: 'DDI 0487 D8.5.2' },
  { name: 'nT', msb: 16, lsb: 16, clause: `${OTHER}.3`, when: (shape) => isBlock(shape) && (shape.features.bbm ?? 0) > 0 },
  { name: 'AF', msb: 10, lsb: 10, clause: 'DDI 0487 D8.5.1' },
  { name: 'Type', msb: 1, lsb: 1, clause: FORMATS },
  { name: 'Valid', msb: 0, lsb: 0, clause: FORMATS },
];

const STAGE1_LEAF: Rows = [
  ...BOTH_STAGES,
  { name: 'UXN', msb: 54, lsb: 54, clause: PERMISSIONS, when: twoPrivileges },
  { name: 'PXN', msb: 53, lsb: 53, clause: PERMISSIONS, when: twoPrivileges },
  { name: 'XN', msb: 54, lsb: 54, clause: PERMISSIONS, when: onePrivilege },
  { name: 'GP', msb: 50, lsb: 50, clause: 'DDI 0487 D8.4.5' },
  { name: 'nG', msb: 11, lsb: 11, clause: 'DDI 0487 D8.16.3', when: twoPrivileges },
  { name: 'SH', msb: 9, lsb: 8, clause: `${MEMORY}.2`, when: hasShareability },
  { name: 'AP[2]', msb: 7, lsb: 7, clause: PERMISSIONS },
  { name: 'AP[1]', msb: 6, lsb: 6, clause: PERMISSIONS, when: twoPrivileges },
  { name: 'RES1', msb: 6, lsb: 6, clause: PERMISSIONS, when: onePrivilege },
  { name: 'NS', msb: 5, lsb: 5, clause: SECURITY },
  { name: 'AttrIndx', msb: 4, lsb: 2, clause: `${MEMORY}.1` },
];

const STAGE2_LEAF: Rows = [
  ...BOTH_STAGES,
  { name: 'XN', msb: 54, lsb: 53, clause: 'DDI 0487 D8.4.2', when: ({ features }) => features.xnx === true },
  { name: 'XN', msb: 54, lsb: 54, clause: 'DDI 0487 D8.4.2', when: ({ features }) => features.xnx !== true },
  { name: 'FnXS', msb: 11, lsb: 11, clause: `${OTHER}.4`, when: ({ features }) => features.xs === true },
  { name: 'SH', msb: 9, lsb: 8, clause: `${MEMORY}.7`, when: hasShareability },
  { name: 'S2AP', msb: 7, lsb: 6, clause: 'DDI 0487 D8.4.2' },
  { name: 'MemAttr', msb: 5, lsb: 2, clause: `${MEMORY}.5` },
];

const BOTH_TABLES: Rows = [
  { name: IGNORED, msb: 11, lsb: 2, clause: FORMATS, when: ({ geometry }) => !geometry.ds },
  { name: IGNORED, msb: 11, lsb: 10, clause: FORMATS, when: ({ geometry }) => geometry.ds },
  { name: IGNORED, msb: 7, lsb: 2, clause: FORMATS, when: ({ geometry }) => geometry.ds },
  { name: 'Type', msb: 1, lsb: 1, clause: FORMATS },
  { name: 'Valid', msb: 0, lsb: 0, clause: FORMATS },
];

const STAGE1_TABLE: Rows = [
  ...BOTH_TABLES,
  { name: 'NSTable', msb: 63, lsb: 63, clause: SECURITY },
  { name: 'APTable', msb: 62, lsb: 61, clause: HIERARCHICAL, when: twoPrivileges },
  { name: 'UXNTable', msb: 60, lsb: 60, clause: HIERARCHICAL, when: twoPrivileges },
  { name: 'PXNTable', msb: 59, lsb: 59, clause: HIERARCHICAL, when: twoPrivileges },
  { name: 'APTable[1]', msb: 62, lsb: 62, clause: HIERARCHICAL, when: onePrivilege },
  { name: 'XNTable', msb: 60, lsb: 60, clause: HIERARCHICAL, when: onePrivilege },
  { name: IGNORED, msb: 58, lsb: 51, clause: FORMATS },
];

const STAGE2_TABLE: Rows = [...BOTH_TABLES, { name: IGNORED, msb: 58, lsb: 51, clause: FORMATS }];

/**
 * An invalid entry: hardware looks at bit 0 alone; Linux keeps notes in the others (KVM_INVALID_PTE_TYPE_MASK, KVM_INVALID_PTE_ANNOT_MASK).
 */
const INVALID: Rows = [
  { name: 'AnnotationType', msb: 63, lsb: 60, clause: 'Linux kvm_pgtable.h KVM_INVALID_PTE_TYPE_MASK' },
  { name: 'Annotation', msb: 59, lsb: 1, clause: 'Linux kvm_pgtable.h KVM_INVALID_PTE_ANNOT_MASK' },
  { name: 'Valid', msb: 0, lsb: 0, clause: FORMATS },
];

/** The address fields of a leaf (`OA`) or table (`NextLevelTable`) descriptor whose address is a multiple of 2^lsb. */
function addressRows(name: string, lsb: number, shape: LevelShape): Rows {
  const plain = plainBits(shape);
  const top = topField(shape);
  const rows = [{ name: `${name}[${plain - 1}:${lsb}]`, msb: plain - 1, lsb, clause: FORMATS }];
  if (top.bits > 0) rows.push({ name: `${name}[51:${plain}]`, msb: top.lsb + top.bits - 1, lsb: top.lsb, clause: FORMATS });
  return rows;
}

/**
 * The fields of a descriptor of this kind and level: all 64 bits, most significant first. Where the level has no such descriptor the layout
 * is that of an invalid entry, which is what hardware takes the word for.
 */
export function descriptorLayout(kind: EntryKind, shape: LevelShape): readonly Field[] {
  const { stage, pageShift } = shape.geometry;
  switch (kind) {
    case ENTRY.zero:
    case ENTRY.annotated:
      return layoutOf(INVALID, shape, FORMATS);
    case ENTRY.leaf: {
      if (!leafLegal(shape, shape.level)) return layoutOf(INVALID, shape, FORMATS);
      const address = addressRows('OA', levelShift(shape.geometry.granule, shape.level), shape);
      return layoutOf([...(stage === 1 ? STAGE1_LEAF : STAGE2_LEAF), ...address], shape, FORMATS);
    }
    case ENTRY.table: {
      if (shape.level === 3) return layoutOf(INVALID, shape, FORMATS);
      const address = addressRows('NextLevelTable', pageShift, shape);
      return layoutOf([...(stage === 1 ? STAGE1_TABLE : STAGE2_TABLE), ...address], shape, FORMATS);
    }
  }
}
