import type { NestedGuest, ShadowDecision } from '@granule/contract';
import { entrySpan, levelShift, type Granule, type Level } from '@granule/geometry';
import { alignDown, hex } from '@granule/geometry/bits';
import { ensure } from '../law.js';
import { flat, NestedBench, type GuestStage2, type NestedLaw, type NestedSubject } from './bench.js';
import { abortSyndrome, vtcrOf, vttbrOf, type Vtcr } from './registers.js';

/** First status code of each fault, level 0 (DDI 0487 ESR_EL2.FSC). */
const STATUS = { 'address-size': 0x00, translation: 0x04, 'access-flag': 0x08, permission: 0x0c, 'external-on-walk': 0x14 } as const;
type Fault = keyof typeof STATUS;

/** What a guest hypervisor may have, and how its tables are then walked: the answer at one IPA. */
export interface WalkCase {
  /** Assertion that names it, after `guest-walk.`. */
  readonly name: string;
  readonly sentence: string;
  readonly vtcr: Vtcr;
  readonly guest?: Partial<NestedGuest>;
  /** The VTTBR_EL2 address; default a legal one. */
  readonly root?: number;
  readonly bigEndian?: boolean;
  /** Writes the tables. The format is that of `tables`, default of `vtcr`: a VTCR_EL2 that no format has needs another. */
  readonly tables?: Vtcr;
  readonly prepare?: (bench: NestedBench, made: GuestStage2) => void;
  readonly ipa?: number;
  readonly expect: { readonly fault: Fault; readonly level: Level } | { readonly output: number; readonly level: Level; readonly bytes: number } | 'retry';
}

const V40: Vtcr = { granule: '4K', inputBits: 40, startLevel: 1 };
const ROOT = 0x8000_0000;
const DATA = 0x4000_0000;
/** An address that a 32-bit output size does not reach. */
const FAR = 2 ** 33;
/** PS of 32 bits. */
const PS_32 = 0;

const page = (vtcr: Vtcr): number => entrySpan(vtcr.granule, 3);
const firstBlock = ({ granule }: Vtcr): Level => (granule === '4K' ? 1 : 2);

/** A fault of level 0 before any table is read. */
function refusedEarly(name: string, sentence: string, vtcr: Vtcr, fault: Fault = 'translation', guest: Partial<NestedGuest> = {}): WalkCase {
  return { name, sentence, vtcr, guest, expect: { fault, level: 0 } };
}

const early: readonly WalkCase[] = [
  refusedEarly('input-size', '24 bits of IPA are an address size fault of level 0', { granule: '4K', inputBits: 24, startLevel: 2 }, 'address-size'),
  refusedEarly('input-size', '49 bits of IPA are an address size fault of level 0', { granule: '64K', inputBits: 49, startLevel: 1 }, 'address-size'),
  refusedEarly('start-level', '4K pages do not start at level −1', { granule: '4K', inputBits: 40, startLevel: -1 }),
  refusedEarly('start-level', '16K pages do not start at level 0', { granule: '16K', inputBits: 48, startLevel: 0 }),
  refusedEarly('start-level', '64K pages do not start at level 0', { granule: '64K', inputBits: 48, startLevel: 0 }),
  refusedEarly('start-level-pa', '4K pages start at level 0 from 44-bit physical addresses on', { granule: '4K', inputBits: 42, startLevel: 0 }, 'translation', { paBits: 42 }),
  refusedEarly('start-level-pa', '16K pages start at level 1 from 42-bit physical addresses on', { granule: '16K', inputBits: 40, startLevel: 1 }, 'translation', { paBits: 40 }),
  refusedEarly('start-level-pa', '64K pages start at level 1 from 44-bit physical addresses on', { granule: '64K', inputBits: 42, startLevel: 1 }, 'translation', { paBits: 42 }),
  refusedEarly('input-beyond-pa', 'an IPA of more bits than a physical address', { granule: '4K', inputBits: 42, startLevel: 1 }, 'translation', { paBits: 40 }),
  refusedEarly('entry-tables', 'more than sixteen entry tables', { granule: '4K', inputBits: 40, startLevel: 2 }),
  refusedEarly('entry-tables', 'an entry table of less than two entries', { granule: '4K', inputBits: 30, startLevel: 1 }),
  {
    name: 'base-beyond-output', sentence: 'a table base beyond PS is an address size fault of level 0, whatever the start level',
    vtcr: { ...V40, ps: PS_32 }, root: FAR, expect: { fault: 'address-size', level: 0 },
  },
  {
    name: 'base-beyond-output', sentence: 'a table base beyond what the host offers is one too',
    vtcr: V40, root: FAR, guest: { ipaLimit: 32 }, expect: { fault: 'address-size', level: 0 },
  },
];

const mapped = (level: Level, ia: number, output: number) => (_: NestedBench, { tables }: GuestStage2): void => { tables.map(ia, level, output); };

/** A page, and a block of every level that KVM knows. */
function found(vtcr: Vtcr): readonly WalkCase[] {
  const { granule } = vtcr;
  return ([1, 2, 3] as Level[])
    .filter((level) => level >= firstBlock(vtcr) && level >= vtcr.startLevel && levelShift(granule, level) < vtcr.inputBits)
    .map((level) => {
      const bytes = entrySpan(granule, level);
      const [ia, output] = [bytes, 2 * bytes];
      return {
        name: 'output', sentence: `a level ${level} entry of ${granule} pages leads to its output address`, vtcr,
        prepare: mapped(level, ia, output), ipa: ia + bytes - 8, expect: { output: output + bytes - 8, level, bytes },
      };
    });
}

/** Each level of a walk to a page, broken in one way. */
function brokenAt(vtcr: Vtcr, level: Level): readonly WalkCase[] {
  const { granule } = vtcr;
  const ipa = entrySpan(granule, 3) * 3;
  const map = (tables: GuestStage2['tables']): number => {
    tables.map(ipa, 3, DATA);
    return tables.at(ipa, level);
  };
  const say = `at level ${level} of ${granule} pages`;
  const cases: WalkCase[] = [
    {
      name: 'invalid', sentence: `an invalid entry ${say}`, vtcr, ipa, expect: { fault: 'translation', level },
      prepare: (_, { tables }) => { tables.put(map(tables), 0n); },
    },
    {
      name: 'descriptor-outside-slots', sentence: `a descriptor that is no memory ${say}`, vtcr, ipa, expect: { fault: 'external-on-walk', level },
      prepare: ({ memory }, { tables }) => {
        const at = map(tables);
        memory.holes.push({ start: at, end: at + 8 });
      },
    },
    {
      name: 'output-beyond', sentence: `an output address beyond PS ${say}`, vtcr: { ...vtcr, ps: PS_32 }, ipa, expect: { fault: 'address-size', level },
      prepare: (_, { tables }) => {
        const at = map(tables);
        tables.put(at, level === 3 ? tables.leaf(3, FAR) : tables.table(FAR));
      },
    },
  ];
  return cases;
}

function broken(vtcr: Vtcr): readonly WalkCase[] {
  const levels = ([0, 1, 2, 3] as Level[]).filter((level) => level >= vtcr.startLevel);
  return levels.flatMap((level) => brokenAt(vtcr, level));
}

/** A block where KVM knows none: the format's own, or what it has a level further down. */
const highBlock = (vtcr: Vtcr): WalkCase => {
  const level = (firstBlock(vtcr) - 1) as Level;
  return {
    name: 'first-block-level', sentence: `a block of level ${level} with ${vtcr.granule} pages is a translation fault`, vtcr, expect: { fault: 'translation', level },
    prepare: (_, { format, tables }) => {
      const own = format.encodeLeaf({}, level).kind === 'done';
      tables.put(tables.at(0, level), own ? tables.leaf(level, 0) : tables.leaf((level + 1) as Level, 0));
    },
  };
};

/** A level-2 leaf where pages are. */
const blockAtThree: WalkCase = {
  name: 'invalid', sentence: 'a block encoding at level 3 is a translation fault', vtcr: V40, expect: { fault: 'translation', level: 3 },
  prepare: (_, { tables }) => { tables.put(tables.at(0, 3), tables.leaf(2, 0)); },
};

/** log2 of the entries that the Contiguous bit joins (DDI 0487 D8.7.1). */
const CONTIGUOUS: readonly (readonly [Vtcr, Level, number])[] = [
  [V40, 3, 4],
  [V40, 2, 4],
  [{ granule: '16K', inputBits: 40, startLevel: 2 }, 2, 5],
  [{ granule: '16K', inputBits: 40, startLevel: 2 }, 3, 7],
  [{ granule: '64K', inputBits: 40, startLevel: 2 }, 2, 5],
  [{ granule: '64K', inputBits: 40, startLevel: 2 }, 3, 5],
];

const contiguous = CONTIGUOUS.map(([vtcr, level, entries]): WalkCase => {
  const bytes = entrySpan(vtcr.granule, level);
  const range = levelShift(vtcr.granule, level) + entries;
  const [ia, output] = [3 * bytes, 2 ** range + 5 * bytes];
  return {
    name: 'contiguous', sentence: `CONT at level ${level} of ${vtcr.granule} pages aligns the output address, the size is of one entry`, vtcr, ipa: ia + 16,
    prepare: (_, { tables }) => { tables.map(ia, level, output, { contiguous: true }); },
    expect: { output: alignDown(output, range) + ia + 16, level, bytes },
  };
});

const noAccess = (_: NestedBench, { tables }: GuestStage2): void => { tables.map(0, 3, DATA, { af: false }); };
const HA: Vtcr = { ...V40, ha: true };

const accessFlag: readonly WalkCase[] = [
  { name: 'access-flag', sentence: 'AF = 0 is an access flag fault', vtcr: V40, prepare: noAccess, expect: { fault: 'access-flag', level: 3 } },
  {
    name: 'access-flag', sentence: 'AF = 0 of a block is an access flag fault of its level', vtcr: V40, expect: { fault: 'access-flag', level: 2 },
    prepare: (_, { tables }) => { tables.map(0, 2, DATA, { af: false, read: false, write: false }); },
  },
  { name: 'access-flag-set', sentence: 'with HA it is set', vtcr: HA, prepare: noAccess, expect: { output: DATA, level: 3, bytes: 4096 } },
  {
    name: 'access-flag-race', sentence: 'an entry that changes meanwhile is read again', vtcr: HA, expect: 'retry',
    prepare: (bench, made) => {
      noAccess(bench, made);
      bench.memory.race = true;
    },
  },
  {
    name: 'access-flag-read-only', sentence: 'in read-only memory it is an external abort on the walk', vtcr: HA, expect: { fault: 'external-on-walk', level: 3 },
    prepare: (bench, made) => {
      noAccess(bench, made);
      bench.memory.readOnly.push({ start: 0, end: 2 ** 48 });
    },
  },
];

const onePage = (_: NestedBench, { tables }: GuestStage2): void => { tables.map(0, 3, DATA); };
const V40_64: Vtcr = { granule: '64K', inputBits: 40, startLevel: 2 };
const V40_16: Vtcr = { granule: '16K', inputBits: 40, startLevel: 2 };
const without = (...granules2: readonly Granule[]): NestedGuest['features'] => ({ granules2, xnx: true, ttl: true, tlbirange: true, xs: true });

/** VTCR_EL2 that says one thing and is read as another. */
const readAs: readonly WalkCase[] = [
  {
    name: 'tg0-reserved', sentence: 'a reserved TG0 is 64K', vtcr: { ...V40_64, tg0: 3 }, tables: V40_64, prepare: onePage,
    expect: { output: DATA, level: 3, bytes: page(V40_64) },
  },
  {
    name: 'granule-host', sentence: 'a granule that the guest has not is the page size of the host', guest: { features: without('64K', '16K'), hostGranule: '16K' },
    vtcr: { ...V40_16, tg0: 0 }, tables: V40_16, prepare: onePage, expect: { output: DATA, level: 3, bytes: page(V40_16) },
  },
  {
    name: 'granule-host', sentence: 'or the first that it has, of 4K, 16K, 64K', guest: { features: without('64K', '16K'), hostGranule: '4K' },
    vtcr: { ...V40_16, tg0: 0 }, tables: V40_16, prepare: onePage, expect: { output: DATA, level: 3, bytes: page(V40_16) },
  },
  ...[6, 7].map((ps): WalkCase => ({
    name: 'ps-48', sentence: `PS ${ps} is 48 bits`, vtcr: { ...V40, ps }, expect: { output: 2 ** 40, level: 3, bytes: 4096 },
    prepare: (_, { tables }) => { tables.map(0, 3, 2 ** 40); },
  })),
  {
    name: 'input-bits-above', sentence: 'bits of the IPA above the input size are not looked at', vtcr: V40, prepare: onePage, ipa: 2 ** 40,
    expect: { output: DATA, level: 3, bytes: 4096 },
  },
  {
    name: 'endianness', sentence: 'big-endian tables are read as such', vtcr: V40, bigEndian: true, prepare: onePage,
    expect: { output: DATA, level: 3, bytes: 4096 },
  },
  { name: 'endianness', sentence: 'AF of a big-endian table', vtcr: HA, bigEndian: true, prepare: noAccess, expect: { output: DATA, level: 3, bytes: 4096 } },
];

const legal: readonly Vtcr[] = [
  V40,
  { granule: '4K', inputBits: 48, startLevel: 0 },
  { granule: '4K', inputBits: 32, startLevel: 2 },
  V40_16,
  { granule: '16K', inputBits: 47, startLevel: 1 },
  V40_64,
  { granule: '64K', inputBits: 46, startLevel: 1 },
];

export const WALK_CASES: readonly WalkCase[] = [
  ...early,
  ...legal.flatMap(found),
  ...[V40, { granule: '4K', inputBits: 44, startLevel: 0 } as const, V40_16, V40_64].flatMap(broken),
  blockAtThree,
  highBlock({ granule: '4K', inputBits: 44, startLevel: 0 }),
  highBlock({ granule: '16K', inputBits: 44, startLevel: 1 }),
  highBlock({ granule: '64K', inputBits: 44, startLevel: 1 }),
  ...contiguous,
  ...accessFlag,
  ...readAs,
];

function text(decision: ShadowDecision): string {
  switch (decision.did) {
    case 'forward':
      return `fault 0x${decision.statusCode.toString(16)} (${decision.sentence})`;
    case 'map':
      return `${hex(decision.limits.ipa)}, level ${decision.limits.level ?? 'none'}, ${decision.limits.maxBytes} bytes`;
    case 'retry':
      return 'retry';
  }
}

function checkCase(subject: NestedSubject, each: WalkCase): void {
  const { name, sentence, vtcr, guest = {}, root = ROOT, bigEndian = false, tables = vtcr, prepare, ipa = 0, expect } = each;
  const assertion = `guest-walk.${name}`;
  const bench = new NestedBench(subject, { guest, maps: flat(4096) });
  const state = { vttbr: vttbrOf(1, root), vtcr: vtcrOf(vtcr), stage2: true, ...(bigEndian && { bigEndian }) };
  prepare?.(bench, bench.stage2(tables, { root, bigEndian }));
  bench.enter(0, state);
  const decision = bench.decide(0, ipa);
  const due = (what: string): string => `${sentence}: ${text(decision)}, due ${what}`;
  if (expect === 'retry') {
    ensure(assertion, decision.did === 'retry', () => due('retry'));
  } else if ('fault' in expect) {
    const code = STATUS[expect.fault] + expect.level;
    ensure(assertion, decision.did === 'forward' && decision.statusCode === code, () => due(`fault 0x${code.toString(16)}`));
    ensure('guest-walk.level', decision.level === expect.level, () => due(`level ${expect.level}`));
    const esr = abortSyndrome({ fetch: false, write: false, permission: false });
    ensure('guest-walk.syndrome', decision.esr === esr - (esr & 0x3fn) + BigInt(code), () => due(`ESR_EL2 with that status alone, not ${hex(decision.esr)}`));
  } else {
    const { limits } = decision.did === 'map' ? decision : { limits: undefined };
    ensure(assertion, limits?.ipa === expect.output, () => due(hex(expect.output)));
    ensure('guest-walk.tag', limits.level === expect.level, () => due(`level ${expect.level}`));
    ensure('guest-walk.size', limits.maxBytes === expect.bytes, () => due(`${expect.bytes} bytes`));
  }
}

/** With HA, the access flag is in memory afterwards, and nothing else has changed. */
function flagInMemory(subject: NestedSubject, bigEndian: boolean): void {
  const bench = new NestedBench(subject);
  const made = bench.stage2(HA, { bigEndian });
  made.tables.map(0, 3, DATA, { af: false });
  const at = made.tables.at(0, 3);
  bench.enter(0, made.state);
  bench.decide(0, 0);
  const due = made.tables.leaf(3, DATA);
  ensure('guest-walk.access-flag-written', made.tables.get(at) === due, () => `the entry is ${hex(made.tables.get(at))} afterwards, due ${hex(due)}`);
}

/** Without HA, nothing is written whatever the walk finds. */
function nothingWritten(subject: NestedSubject): void {
  const bench = new NestedBench(subject);
  const made = bench.stage2(V40);
  made.tables.map(0, 3, DATA, { af: false });
  made.tables.map(4096, 3, DATA);
  const before = new Map(bench.memory.words);
  bench.enter(0, made.state);
  for (const ipa of [0, 4096, 8192]) bench.decide(0, ipa);
  const same = [...bench.memory.words].every(([at, word]) => before.get(at) === word) && before.size === bench.memory.words.size;
  ensure('guest-walk.reads-alone', same, 'a walk without VTCR_EL2.HA wrote to the guest hypervisor’s memory');
}

export const walkLaws: readonly NestedLaw[] = [
  ...WALK_CASES.map((each) => ({ name: `guest-walk.${each.name}`, sentence: each.sentence, check: (subject: NestedSubject) => { checkCase(subject, each); } })),
  { name: 'guest-walk.access-flag-written', sentence: 'with HA the flag is in memory afterwards', check: (subject) => flagInMemory(subject, false) },
  { name: 'guest-walk.access-flag-written', sentence: 'with HA the flag is in a big-endian entry afterwards', check: (subject) => flagInMemory(subject, true) },
  { name: 'guest-walk.reads-alone', sentence: 'without HA nothing is written', check: nothingWritten },
];
