import type {
  AttributeRequest,
  Attributes,
  EntryKind,
  Field,
  Format,
  FormatConfig,
  FormatNumbers,
  Outcome,
  Rule,
  TableAttributes,
  TlbiSequences,
  TlbiStep,
  Words,
} from '@granule/contract';
import { done, ENTRY, refused } from '@granule/contract';
import { explainFields, leafDefaults } from '@granule/contract/codec';
import { type Level, type TableGeometry } from '@granule/geometry';
import {
  bigintHigh,
  bigintLow,
  fromHalves,
  hex,
  high32,
  isAligned,
  low32,
  placeField,
  takeField,
  toBigint,
  type OutputAddress,
} from '@granule/geometry/bits';
import {
  ANNOTATED_TYPE,
  ANNOTATION_FIELDS,
  CLAUSE,
  descriptorLayout,
  LEAF_FIELDS,
  leafType,
  LOCKED_TYPE,
  MEMORY_CODES,
  OA_PLAIN_BITS,
  OA_TOP_BITS,
  OA_TOP_LSB,
  SHAREABILITY_CODES,
  TABLE_FIELDS,
  TABLE_TYPE,
  TYPE_MASK,
} from './layout.js';
import { numbersOf } from './numbers.js';

const step = (op: string, takes: 'nothing' | 'address' | 'address-and-level' | 'range'): readonly TlbiStep[] => [
  { type: 'dsb', domain: 'ishst' },
  { type: 'tlbi', op, takes },
  { type: 'dsb', domain: 'ish' },
];

const TLBI: TlbiSequences = {
  leaf: step('FORGET-LEAF', 'address-and-level'),
  leafLocal: step('FORGET-LEAF-HERE', 'address-and-level'),
  table: step('FORGET-WALK', 'address'),
  range: step('FORGET-RANGE', 'range'),
  all: step('FORGET-ALL', 'nothing'),
};

const DEFAULTS: Attributes = leafDefaults('normal', MEMORY_CODES.indexOf('normal'), 'inner');

const get = (word: bigint, field: Field): number => Number(takeField(field, word));
const put = (value: number | boolean, field: Field): bigint => placeField(field, BigInt(value));
const words = (word: bigint): Words => ({ lo: bigintLow(word), hi: bigintHigh(word) });

/** Leaf attributes that no fake leaf has, in every stage, and those that only one stage has. */
const ABSENT = { 1: ['dbm', 'ns', 'gp'], 2: ['dbm', 'ns', 'gp', 'user', 'nG'] } as const;

function badRequest(request: Attributes, stage: 1 | 2): Outcome<Words> | undefined {
  for (const name of ABSENT[stage]) {
    if (request[name]) {
      return refused('attributes.not-in-regime', `The attribute ${name} does not exist in stage ${stage} of the fake format.`, CLAUSE);
    }
  }
  if (stage === 1 && !request.read) {
    return refused('attributes.not-in-regime', 'The attribute read is always true in stage 1 of the fake format.', CLAUSE);
  }
  if (!Number.isInteger(request.software) || request.software < 0 || request.software > 15) {
    return refused('attributes.software', `The attribute software is ${request.software} and must be an integer from 0 to 15.`, CLAUSE);
  }
  if (!Number.isInteger(request.attrIndex) || request.attrIndex < 0 || request.attrIndex > 7) {
    return refused(
      'attributes.memory',
      `The memory type ${request.memory} (attrIndex ${request.attrIndex}) has no code in the fake format.`,
      CLAUSE,
    );
  }
  return undefined;
}

function resolve(request: AttributeRequest): Attributes {
  const memory = request.memory ?? DEFAULTS.memory;
  const code = memory === 'reserved' ? -1 : (MEMORY_CODES as readonly string[]).indexOf(memory);
  return { ...DEFAULTS, ...request, attrIndex: request.attrIndex ?? code };
}

function encodeLeaf(request: AttributeRequest, level: Level, geometry: TableGeometry): Outcome<Words> {
  const type = leafType(geometry.granule, level);
  if (type === -1) {
    return refused(
      'attributes.no-leaf-at-level',
      `Level ${level} of the fake format with ${geometry.granule} pages has no leaves.`,
      CLAUSE,
    );
  }
  const a = resolve(request);
  const bad = badRequest(a, geometry.stage);
  if (bad !== undefined) {
    return bad;
  }
  const f = LEAF_FIELDS;
  return done(
    words(
      BigInt(type) |
        put(a.contiguous, f.contiguous) |
        put(!a.read, f.notReadable) |
        put(a.px, f.privilegedExecute) |
        put(!a.write, f.readOnly) |
        put(a.ux, f.userExecute) |
        put(a.attrIndex, f.memory) |
        put(SHAREABILITY_CODES.indexOf(a.shareability), f.shareability) |
        put(a.nG, f.notGlobal) |
        put(a.user, f.user) |
        put(a.software, f.software) |
        put(a.af, f.af),
    ),
  );
}

function decodeLeaf(lo: number, hi: number, stage: 1 | 2): Attributes {
  const word = toBigint(lo, hi);
  const f = LEAF_FIELDS;
  const memory = get(word, f.memory);
  return {
    read: stage === 1 || get(word, f.notReadable) === 0,
    write: get(word, f.readOnly) === 0,
    px: get(word, f.privilegedExecute) === 1,
    ux: get(word, f.userExecute) === 1,
    user: stage === 1 && get(word, f.user) === 1,
    memory: MEMORY_CODES[memory],
    attrIndex: memory,
    shareability: SHAREABILITY_CODES[get(word, f.shareability)],
    af: get(word, f.af) === 1,
    dbm: false,
    contiguous: get(word, f.contiguous) === 1,
    nG: stage === 1 && get(word, f.notGlobal) === 1,
    ns: false,
    gp: false,
    software: get(word, f.software),
  };
}

function encodeTable(attributes: Partial<TableAttributes>, stage: 1 | 2): Outcome<Words> {
  const { nsTable = false, apTable = 0, uxnTable = false, pxnTable = false } = attributes;
  if (stage === 2 && (nsTable || uxnTable || pxnTable || apTable !== 0)) {
    return refused('attributes.not-in-regime', 'Stage 2 of the fake format has no hierarchical table attributes.', CLAUSE);
  }
  if (!Number.isInteger(apTable) || apTable < 0 || apTable > 3) {
    return refused('attributes.ap-table', `The attribute apTable is ${apTable} and must be an integer from 0 to 3.`, CLAUSE);
  }
  const t = TABLE_FIELDS;
  return done(
    words(BigInt(TABLE_TYPE) | put(nsTable, t.nsTable) | put(apTable, t.apTable) | put(uxnTable, t.uxnTable) | put(pxnTable, t.pxnTable)),
  );
}

function decodeTable(lo: number, hi: number, stage: 1 | 2): TableAttributes {
  const word = stage === 1 ? toBigint(lo, hi) : 0n;
  const t = TABLE_FIELDS;
  return {
    nsTable: get(word, t.nsTable) === 1,
    apTable: get(word, t.apTable),
    uxnTable: get(word, t.uxnTable) === 1,
    pxnTable: get(word, t.pxnTable) === 1,
  };
}

function encodeOutput(oa: OutputAddress, alignShift: number, geometry: TableGeometry): Outcome<Words> {
  const bits = Math.min(geometry.oaBits, OA_PLAIN_BITS + OA_TOP_BITS);
  if (!Number.isSafeInteger(oa) || oa < 0 || oa >= 2 ** bits) {
    return refused('oa.too-large', `The output address ${String(oa)} does not fit into the ${bits} bits of the fake format.`, CLAUSE);
  }
  if (!isAligned(oa, alignShift)) {
    return refused('oa.misaligned', `The output address ${hex(oa)} is not aligned to 2^${alignShift}.`, CLAUSE);
  }
  const high = high32(oa);
  return done({ lo: (low32(oa) | ((high >>> (OA_PLAIN_BITS - 32)) << OA_TOP_LSB)) >>> 0, hi: high & (2 ** (OA_PLAIN_BITS - 32) - 1) });
}

/** Output address of a word whose plain bits are these. */
function outputOf(lo: number, hi: number, maskLo: number, maskHi: number): OutputAddress {
  const top = (lo >>> OA_TOP_LSB) & (2 ** OA_TOP_BITS - 1);
  return fromHalves(lo & maskLo, (hi & maskHi) | (top << (OA_PLAIN_BITS - 32)));
}

function encodeAnnotation(type: number, value: bigint): Outcome<Words> {
  if (!Number.isInteger(type) || type < 1 || type > 15) {
    return refused('annotation.type', `The annotation type is ${type} and must be an integer from 1 to 15.`, CLAUSE);
  }
  if (value < 0n || value >= 1n << 48n) {
    return refused(
      'annotation.value-too-wide',
      `The annotation value ${value.toString()} does not fit into the 48 bits of the fake format.`,
      CLAUSE,
    );
  }
  return done(words(BigInt(ANNOTATED_TYPE) | put(type, ANNOTATION_FIELDS.type) | (value << 16n)));
}

function relax(add: Parameters<Format['relax']>[0]): ReturnType<Format['relax']> {
  if (add.read === false || add.write === false) {
    return refused('relax.removes', 'Relaxing permissions adds the right to read or write and cannot remove it.', CLAUSE);
  }
  const f = LEAF_FIELDS;
  const set = put(add.px === true, f.privilegedExecute) | put(add.ux === true, f.userExecute);
  const clear =
    put(add.read === true, f.notReadable) |
    put(add.write === true, f.readOnly) |
    put(add.px === false, f.privilegedExecute) |
    put(add.ux === false, f.userExecute);
  return done({ loClear: bigintLow(clear), loSet: bigintLow(set), hiClear: bigintHigh(clear), hiSet: bigintHigh(set) });
}

const rule = (id: string, sentence: string): Rule => ({ id, clause: CLAUSE, sentence });
const RULES = {
  kind: rule('bbm.table-and-leaf', 'A table and a leaf may not replace each other in place.'),
  table: rule('bbm.next-table', 'A table descriptor may not name another table in place.'),
  output: rule('bbm.output-address', 'A leaf may not change its output address in place.'),
  memory: rule('bbm.memory-type', 'A leaf may not change its memory type or shareability in place.'),
  size: rule('bbm.contiguous', 'A leaf may not change its contiguous bit in place.'),
  global: rule('bbm.global', 'A leaf may not become global or stop being global in place.'),
} as const;

function mustBreak(format: Format, old: Words, next: Words, level: Level, bbm: number): Rule | undefined {
  const before = format.kind(old.lo, old.hi, level);
  const after = format.kind(next.lo, next.hi, level);
  if (before < ENTRY.leaf || after < ENTRY.leaf) {
    return undefined;
  }
  if (before !== after) {
    return bbm >= 2 ? undefined : RULES.kind;
  }
  if (before === ENTRY.table) {
    return format.tableOutput(old.lo, old.hi) === format.tableOutput(next.lo, next.hi) ? undefined : RULES.table;
  }
  if (format.leafOutput(old.lo, old.hi, level) !== format.leafOutput(next.lo, next.hi, level)) {
    return RULES.output;
  }
  const a = format.decodeLeaf(old.lo, old.hi, level);
  const b = format.decodeLeaf(next.lo, next.hi, level);
  if (a.attrIndex !== b.attrIndex || a.shareability !== b.shareability) {
    return RULES.memory;
  }
  if (a.contiguous !== b.contiguous) {
    return RULES.size;
  }
  return a.nG === b.nG ? undefined : RULES.global;
}

function kindOf(n: FormatNumbers, lo: number, hi: number, level: Level): EntryKind {
  const type = lo & TYPE_MASK;
  if (type === n.leafType[level + 1]) {
    return ENTRY.leaf;
  }
  if (type === n.tableType[level + 1]) {
    return ENTRY.table;
  }
  return lo === 0 && hi === 0 ? ENTRY.zero : ENTRY.annotated;
}

/** The fake format for one stage and geometry; `s1` and `s2` differ in a few fields. */
export function fakeFormat(regime: 's1' | 's2', config: FormatConfig): Format {
  const { geometry } = config;
  const { stage } = geometry;
  const numbers = numbersOf(geometry);
  const bbm = config.features?.bbm ?? 0;
  const format: Format = {
    contract: 1,
    backend: 'fake',
    regime,
    stage,
    geometry,
    upper: config.upper ?? false,
    numbers,
    defaults: DEFAULTS,
    linuxMinBlockLevel: geometry.granule === '4K' ? 1 : 2,
    locked: { lo: LOCKED_TYPE, hi: 0 },
    tlbi: TLBI,
    kind: (lo, hi, level) => kindOf(numbers, lo, hi, level),
    encodeLeaf: (request, level) => encodeLeaf(request, level, geometry),
    decodeLeaf: (lo, hi) => decodeLeaf(lo, hi, stage),
    leafOutput: (lo, hi, level) => outputOf(lo, hi, numbers.leafOaLo[level + 1], numbers.leafOaHi[level + 1]),
    encodeTable: (attributes = {}) => encodeTable(attributes, stage),
    decodeTable: (lo, hi) => decodeTable(lo, hi, stage),
    tableOutput: (lo, hi) => outputOf(lo, hi, numbers.tableOaLo, numbers.tableOaHi),
    encodeOutput: (oa, alignShift) => encodeOutput(oa, alignShift, geometry),
    encodeAnnotation,
    decodeAnnotation: (lo, hi) => ({ type: get(toBigint(lo, hi), ANNOTATION_FIELDS.type), value: toBigint(lo, hi) >> 16n }),
    relax,
    mustBreak: (oldLo, oldHi, newLo, newHi, level) => mustBreak(format, { lo: oldLo, hi: oldHi }, { lo: newLo, hi: newHi }, level, bbm),
    layout: (kind, level) => descriptorLayout(kind, level, geometry.granule, stage),
    explain: (lo, hi, level) =>
      explainFields(
        descriptorLayout(kindOf(numbers, lo, hi, level), level, geometry.granule, stage),
        toBigint(lo, hi),
        ({ name }, value) => `${name} = ${value.toString()}`,
      ),
  };
  return format;
}
