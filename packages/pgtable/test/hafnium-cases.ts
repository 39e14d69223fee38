/**
 * The unit cases of Hafnium's page tables (test/unit_test/mm_test.cc, the 63 tests of mm.c), restated in Arm terms from their public
 * description; no code of theirs. 4K, stage 2, 41-bit IPA from level 1: four concatenated entry tables of 512 entries of 1 GiB. Hafnium's
 * modes are R, W, X and 0 (none of them).
 *
 * A table is told by its leaves, neighbours of one level, mode and offset together, and by the number of table pages below the entry
 * tables; that is all of it.
 */

export const K = 2 ** 10;
export const M = 2 ** 20;
export const G = 2 ** 30;
export const PAGE = 4 * K;
export const END = 2 ** 41;
const BLOCK = 2 * M;

export type Mode = '0' | 'R' | 'W' | 'X';

export interface Leaves {
  readonly ia: number;
  readonly level: 1 | 2 | 3;
  readonly count: number;
  readonly pa: number;
  readonly mode: Mode;
}

export type Step =
  | { readonly do: 'map' | 'prepare'; readonly begin: number; readonly end: number; readonly pa: number; readonly mode: Mode }
  | { readonly do: 'unmap'; readonly begin: number; readonly end: number }
  /** Invalid entries that carry a note: Hafnium's INVALID. */
  | { readonly do: 'annotate'; readonly begin: number; readonly end: number; readonly note: bigint }
  | { readonly do: 'merge' }
  /** Everything prepared so far, in order. */
  | { readonly do: 'commit' }
  | { readonly do: 'is-mapped'; readonly ia: number }
  /** The one mode of a range, `absent`, or `mixed`; `beyond` where the table does not reach. */
  | { readonly do: 'mode'; readonly begin: number; readonly end: number }
  /** Mode of the start, and where it ends. */
  | { readonly do: 'first-mode'; readonly begin: number; readonly end: number }
  /** Output ranges of a mode, as many bytes each as follow each other. */
  | { readonly do: 'outputs'; readonly begin: number; readonly end: number; readonly mode: Mode };

export interface Result {
  /** What each step answers; left out: all `ok`. */
  readonly answers?: readonly string[];
  readonly leaves: readonly Leaves[];
  readonly tables: number;
}

export interface Case extends Result {
  readonly name: string;
  readonly steps: readonly Step[];
  readonly different?: { readonly reason: string; readonly ours: Result };
}

const map = (begin: number, end: number, mode: Mode = '0'): Step => ({ do: 'map', begin, end, pa: begin - (begin % PAGE), mode });
const mapTo = (begin: number, end: number, pa: number, mode: Mode = '0'): Step => ({ do: 'map', begin, end, pa, mode });
const prepare = (begin: number, end: number): Step => ({ do: 'prepare', begin, end, pa: begin, mode: '0' });
const unmap = (begin: number, end: number): Step => ({ do: 'unmap', begin, end });
const commit: Step = { do: 'commit' };
const merge: Step = { do: 'merge' };
const all = map(0, END);
const isMapped = (ia: number): Step => ({ do: 'is-mapped', ia });
const modeOf = (begin: number, end: number): Step => ({ do: 'mode', begin, end });

const leaves = (level: 1 | 2 | 3, ia: number, pa: number, count = 1, mode: Mode = '0'): Leaves => ({ ia, level, count, pa, mode });
const identity = (level: 1 | 2 | 3, ia: number, count = 1, mode: Mode = '0'): Leaves => leaves(level, ia, ia, count, mode);
const empty: Result = { leaves: [], tables: 0 };
const full: Result = { leaves: [identity(1, 0, 2048)], tables: 0 };
const ok = (count: number): readonly string[] => Array.from({ length: count }, () => 'ok');

const LOW = 0x80_0000_0000 - PAGE;
const HIGH = 0x80_0000_0000 + PAGE;
const SCATTERED = [map(524421 * PAGE, (524421 + 17) * PAGE), map(6 * M, 16 * M)];
/** Two halves of a gibibyte. */
const halves = (first: number, second: number, mode: Mode): readonly Step[] => [
  mapTo(0, 512 * M, first, mode),
  mapTo(512 * M, G, second, mode),
];
const EMPTY_TABLES = 'An emptied table is freed at once, by its count; Hafnium keeps it until a defrag.';
const EXACT_END = 'The end 2^64 − 1 is beyond the table and is cut off there, rather than wrapping round to nothing.';

const INIT: readonly Case[] = [
  { name: 'ptable_init_empty', steps: [], ...empty },
  {
    name: 'ptable_init_concatenated_empty',
    steps: [0, 1, 2, 3].map((i) => isMapped(i * 512 * G)),
    ...empty,
    answers: ['no', 'no', 'no', 'no'],
  },
];

const MAP: readonly Case[] = [
  { name: 'map_first_page', steps: [map(0, PAGE)], leaves: [identity(3, 0)], tables: 2 },
  { name: 'map_non_identity_simple', steps: [mapTo(PAGE, 2 * PAGE, 0)], leaves: [leaves(3, PAGE, 0)], tables: 2 },
  { name: 'test_map_2M_page_paddr_aligned', steps: [mapTo(0, BLOCK, BLOCK)], leaves: [leaves(2, 0, BLOCK)], tables: 1 },
  { name: 'test_map_2M_page_paddr_not_aligned', steps: [mapTo(0, BLOCK, PAGE)], leaves: [leaves(3, 0, PAGE, 512)], tables: 2 },
  { name: 'map_round_to_page', steps: [map(END - PAGE + 23, END - PAGE + 23 + 268)], leaves: [identity(3, END - PAGE)], tables: 2 },
  { name: 'map_across_tables', steps: [map(LOW, HIGH)], leaves: [identity(3, LOW, 2)], tables: 4 },
  { name: 'non_identity_map_across_tables', steps: [mapTo(LOW, HIGH, 0)], leaves: [leaves(3, LOW, 0, 2)], tables: 4 },
  { name: 'map_all_at_top_level', steps: [all], ...full },
  { name: 'map_already_mapped', steps: [all, map(0, PAGE)], ...full },
  { name: 'already_mapped_non_identity', steps: [all, mapTo(0, PAGE, PAGE)], ...full, answers: ['ok', 'fails'] },
  {
    name: 'remap_partial',
    steps: [map(0, BLOCK, 'R'), map(256 * PAGE, 257 * PAGE, 'W'), modeOf(0, PAGE), modeOf(256 * PAGE, 257 * PAGE)],
    leaves: [identity(3, 0, 256, 'R'), identity(3, 256 * PAGE, 1, 'W'), identity(3, 257 * PAGE, 255, 'R')],
    tables: 2,
    answers: ['ok', 'ok', 'R', 'W'],
  },
  {
    name: 'non_identity_remap',
    steps: [mapTo(0, BLOCK, BLOCK, 'R'), mapTo(256 * PAGE, 257 * PAGE, 3 * M, 'W')],
    leaves: [leaves(3, 0, BLOCK, 256, 'R'), leaves(3, M, 3 * M, 1, 'W'), leaves(3, M + PAGE, 3 * M + PAGE, 255, 'R')],
    tables: 2,
  },
  {
    name: 'non_identity_overmap_random',
    steps: [mapTo(0, BLOCK, BLOCK, 'R'), mapTo(173 * PAGE, 174 * PAGE, 0xa0_0000, 'W'), modeOf(0, BLOCK)],
    leaves: [leaves(2, 0, BLOCK, 1, 'R')],
    tables: 1,
    answers: ['ok', 'fails', 'R'],
  },
  {
    name: 'non_identity_overmap_shifted',
    steps: [mapTo(0, BLOCK, BLOCK, 'R'), mapTo(173 * PAGE, 174 * PAGE, BLOCK + 174 * PAGE, 'W'), modeOf(0, BLOCK)],
    leaves: [leaves(2, 0, BLOCK, 1, 'R')],
    tables: 1,
    answers: ['ok', 'fails', 'R'],
  },
  {
    name: 'map_non_identity_paddr_overflows',
    steps: [mapTo(0, 2 * PAGE, 2 ** 64 - PAGE), mapTo(0, PAGE, END)],
    ...empty,
    answers: ['fails', 'fails'],
    different: {
      reason: 'Output addresses are limited by the output address size (48 bits here), not by the size of the IPA space.',
      ours: { answers: ['fails', 'ok'], leaves: [leaves(3, 0, END)], tables: 2 },
    },
  },
  { name: 'map_reverse_range_quirk', steps: [map(0x1234_5678, 0x5000)], ...empty },
  { name: 'map_reverse_range_rounded_quirk', steps: [map(20, 10)], leaves: [identity(3, 0)], tables: 2 },
  { name: 'map_last_address_quirk', steps: [map(0, 2 ** 64)], ...empty, different: { reason: EXACT_END, ours: full } },
  { name: 'map_clamp_to_range', steps: [map(0, 0xf32_0000_0000_0000)], ...full },
  { name: 'map_ignore_out_of_range', steps: [map(END, 0xf0b_0000_0000_0000)], ...empty },
  { name: 'map_block_replaces_table', steps: [map(34567 * PAGE, 34568 * PAGE), all], ...full },
  {
    name: 'cant_overmap_non_identity',
    steps: [mapTo(0, PAGE, PAGE), all],
    leaves: [leaves(3, 0, PAGE)],
    tables: 2,
    answers: ['ok', 'fails'],
  },
  {
    name: 'overmap_no_partial_success',
    steps: [map(0, BLOCK - PAGE), mapTo(BLOCK, 2 * BLOCK, 0xa00_0000), map(2 * BLOCK, 3 * BLOCK - PAGE), map(0, 3 * BLOCK)],
    leaves: [identity(3, 0, 511), leaves(2, BLOCK, 0xa00_0000), identity(3, 2 * BLOCK, 511)],
    tables: 3,
    answers: ['ok', 'ok', 'ok', 'fails'],
  },
  {
    name: 'map_coalesce_partial_entries',
    steps: [map(BLOCK, BLOCK + 2 * PAGE), map(0, 2 * BLOCK)],
    leaves: [identity(2, 0, 2)],
    tables: 1,
  },
  {
    name: 'map_dont_coalesce_table_non_identity',
    steps: [map(BLOCK, BLOCK + 2 * PAGE), mapTo(BLOCK + 2 * PAGE, BLOCK + 3 * PAGE, 0xa0_0000), map(0, 2 * BLOCK)],
    leaves: [identity(3, BLOCK, 2), leaves(3, BLOCK + 2 * PAGE, 0xa0_0000)],
    tables: 2,
    answers: ['ok', 'ok', 'fails'],
  },
  {
    name: 'map_does_not_defrag',
    steps: [all, unmap(12000 * PAGE, 12001 * PAGE), map(12000 * PAGE, 12001 * PAGE)],
    leaves: [identity(2, 0, 23), identity(3, 23 * BLOCK, 512), identity(2, 24 * BLOCK, 488), identity(1, G, 2047)],
    tables: 2,
  },
  { name: 'map_to_unmap', steps: [...SCATTERED, unmap(0, END)], ...empty },
  { name: 'prepare_and_commit_first_page', steps: [prepare(0, PAGE), commit], leaves: [identity(3, 0)], tables: 2 },
  {
    name: 'prepare_and_commit_disjoint_regions',
    steps: [prepare(0, PAGE), prepare(END - PAGE, END), commit],
    leaves: [identity(3, 0), identity(3, END - PAGE)],
    tables: 4,
  },
  {
    name: 'prepare_and_commit_overlapping_regions',
    steps: [prepare(0x80_0000_0000, HIGH), prepare(LOW, HIGH), commit],
    leaves: [identity(3, LOW, 2)],
    tables: 4,
  },
];

const UNMAP: readonly Case[] = [
  { name: 'unmap_not_mapped', steps: [unmap(12345 * PAGE, 12347 * PAGE)], ...empty },
  { name: 'unmap_all', steps: [...SCATTERED, unmap(0, END)], ...empty },
  {
    name: 'unmap_round_to_page',
    steps: [map(0x160_0000_0000 + PAGE, 0x160_0000_0000 + 2 * PAGE), unmap(0x160_0000_0000 + PAGE + 93, 0x160_0000_0000 + PAGE + 99)],
    leaves: [],
    tables: 2,
    different: { reason: EMPTY_TABLES, ours: empty },
  },
  {
    name: 'unmap_across_tables',
    steps: [map(0x180_0000_0000 - PAGE, 0x180_0000_0000 + PAGE), unmap(0x180_0000_0000 - PAGE, 0x180_0000_0000 + PAGE)],
    leaves: [],
    tables: 4,
    different: { reason: EMPTY_TABLES, ours: empty },
  },
  { name: 'unmap_out_of_range', steps: [all, unmap(END, 0x4000_0000_0000)], ...full },
  { name: 'unmap_reverse_range', steps: [all, unmap(0x80_a000_0000, 27)], ...full },
  {
    name: 'unmap_reverse_range_quirk',
    steps: [map(0x180_0000_0000, 0x180_0000_0000 + PAGE), unmap(0x180_0000_0000 + 100, 0x180_0000_0000 + 50), isMapped(0x180_0000_0000)],
    leaves: [],
    tables: 2,
    answers: ['ok', 'ok', 'no'],
    different: { reason: `The page is unmapped as there. ${EMPTY_TABLES}`, ours: { ...empty, answers: ['ok', 'ok', 'no'] } },
  },
  { name: 'unmap_last_address_quirk', steps: [all, unmap(0, 2 ** 64)], ...full, different: { reason: EXACT_END, ours: empty } },
  {
    name: 'unmap_does_not_defrag',
    steps: [map(5555 * PAGE, 5568 * PAGE), map(666 * BLOCK, 671 * BLOCK), unmap(5555 * PAGE, 5568 * PAGE), unmap(666 * BLOCK, 671 * BLOCK)],
    leaves: [],
    tables: 3,
    different: { reason: EMPTY_TABLES, ours: empty },
  },
];

const ASK: readonly Case[] = [
  {
    name: 'is_mapped_empty',
    steps: [isMapped(0), isMapped(0x8123_2344), isMapped(0x1e0_0000_0073)],
    ...empty,
    answers: ['no', 'no', 'no'],
  },
  {
    name: 'is_mapped_all',
    steps: [all, isMapped(0), isMapped(0xf247_a7b3), isMapped(0x1ff_7bfa_983b)],
    ...full,
    answers: ['ok', 'yes', 'yes', 'yes'],
  },
  {
    name: 'is_mapped_page',
    steps: [
      map(0x100_0000_0000, 0x100_0000_0000 + PAGE),
      isMapped(0x100_0000_0000),
      isMapped(0x100_0000_0000 + 127),
      isMapped(0x100_0000_0000 + PAGE),
    ],
    leaves: [identity(3, 0x100_0000_0000)],
    tables: 2,
    answers: ['ok', 'yes', 'yes', 'no'],
  },
  {
    name: 'is_mapped_out_of_range',
    steps: [all, isMapped(END), isMapped(0x1000_adb7_8123), isMapped(2 ** 64)],
    ...full,
    answers: ['ok', 'no', 'no', 'no'],
  },
  {
    name: 'get_mode_empty_quirk',
    steps: [modeOf(0, 20), modeOf(0x3c97_654d, 0x3c97_e000), modeOf(0x5f_ffff_ffff, 0x1ff_ffff_0000)],
    ...empty,
    answers: ['absent', 'absent', 'absent'],
  },
  {
    name: 'get_mode_pages_across_tables',
    steps: [
      map(0x180_0000_0000 - PAGE, 0x180_0000_0000 + PAGE, 'R'),
      modeOf(0x180_0000_0000 - PAGE, 0x180_0000_0000 + PAGE),
      modeOf(0, 0x180_0000_0000 + PAGE),
    ],
    leaves: [identity(3, 0x180_0000_0000 - PAGE, 2, 'R')],
    tables: 4,
    answers: ['ok', 'R', 'mixed'],
  },
  {
    name: 'get_mode_partial',
    steps: [
      map(0, PAGE, 'R'),
      map(PAGE, 2 * PAGE, 'W'),
      map(2 * PAGE, 3 * PAGE, 'X'),
      modeOf(0, PAGE),
      modeOf(PAGE, 2 * PAGE),
      modeOf(2 * PAGE, 3 * PAGE),
      modeOf(0, 2 * PAGE),
      modeOf(PAGE, 3 * PAGE),
      { do: 'first-mode', begin: 0, end: 3 * PAGE },
      { do: 'first-mode', begin: PAGE, end: 3 * PAGE },
    ],
    leaves: [identity(3, 0, 1, 'R'), identity(3, PAGE, 1, 'W'), identity(3, 2 * PAGE, 1, 'X')],
    tables: 2,
    answers: ['ok', 'ok', 'ok', 'R', 'W', 'X', 'mixed', 'mixed', 'R to 0x1000', 'W to 0x2000'],
  },
  {
    name: 'get_mode_out_of_range',
    steps: [map(0, END, 'R'), modeOf(0, END + PAGE), modeOf(END, END + PAGE), modeOf(0x1000_adb7_8123, 0x1000_adb7_9000), modeOf(0, END)],
    leaves: [identity(1, 0, 2048, 'R')],
    tables: 0,
    answers: ['ok', 'beyond', 'beyond', 'beyond', 'R'],
  },
];

const SHIFTED = [leaves(2, 0, 0, 255, 'R'), leaves(2, 255 * BLOCK, 16 * G, 1, 'R'), leaves(2, 256 * BLOCK, 256 * BLOCK, 256, 'R')];
/** Annotations of a gibibyte are pages: a table of level 2 and 512 of level 3. */
const NOTED: Result = { leaves: [], tables: 513 };

const DEFRAG: readonly Case[] = [
  { name: 'defrag_empty', steps: [merge], ...empty },
  {
    name: 'defrag_empty_subtables',
    steps: [map(120000 * PAGE, 120001 * PAGE), map(6 * M, 16 * M), unmap(120000 * PAGE, 120001 * PAGE), unmap(6 * M, 16 * M), merge],
    ...empty,
  },
  {
    name: 'defrag_block_subtables',
    steps: [
      all,
      unmap(39456 * BLOCK, 39460 * BLOCK),
      map(39456 * BLOCK, 39456 * BLOCK + 67 * PAGE),
      map(39456 * BLOCK + 67 * PAGE, 39460 * BLOCK),
      merge,
    ],
    ...full,
  },
  {
    name: 'defrag_block_subtables_non_identity',
    steps: [...halves(16 * G, 16 * G + 512 * M, 'R'), merge],
    leaves: [leaves(1, 0, 16 * G, 1, 'R')],
    tables: 0,
  },
  {
    name: 'defrag_invalid_block_subtables_non_identity',
    steps: [{ do: 'annotate', begin: 0, end: 512 * M, note: 2n }, { do: 'annotate', begin: 512 * M, end: G, note: 2n }, merge],
    leaves: [],
    tables: 0,
    different: {
      reason: 'Annotations belong to pages and carry no output address (as in Linux); a merge makes blocks of leaves alone.',
      ours: { ...NOTED, answers: ok(3) },
    },
  },
  {
    name: 'defrag_invalid_non_contig_block_subtables',
    steps: [{ do: 'annotate', begin: 0, end: 512 * M, note: 2n }, { do: 'annotate', begin: 512 * M, end: G, note: 4n }, merge],
    ...NOTED,
  },
  {
    name: 'defrag_non_contig_block_subtables',
    steps: [...halves(0, 16 * G, 'R'), merge],
    leaves: [identity(2, 0, 256, 'R'), leaves(2, 512 * M, 16 * G, 256, 'R')],
    tables: 1,
  },
  {
    name: 'defrag_block_subtables_non_identity_middle',
    steps: [map(0, 255 * BLOCK, 'R'), mapTo(255 * BLOCK, 256 * BLOCK, 16 * G, 'R'), map(256 * BLOCK, G, 'R'), merge],
    leaves: SHIFTED,
    tables: 1,
  },
  { name: 'defrag_2mb_page_unaligned', steps: [mapTo(0, BLOCK, PAGE), merge], leaves: [leaves(3, 0, PAGE, 512)], tables: 2 },
  {
    name: 'defrag_table_and_blocks',
    steps: [map(10 * PAGE, 11 * PAGE, 'R'), map(BLOCK, G, 'R'), merge],
    leaves: [identity(3, 0xa000, 1, 'R'), identity(2, BLOCK, 511, 'R')],
    tables: 2,
  },
  {
    name: 'defrag_aliased_range',
    steps: [...halves(0, 0, 'R'), merge],
    leaves: [identity(2, 0, 256, 'R'), leaves(2, 512 * M, 0, 256, 'R')],
    tables: 1,
  },
];

const RANGES: readonly Case[] = [
  {
    name: 'get_range_by_mode_non_identity',
    steps: [mapTo(BLOCK, 2 * BLOCK, 16 * M, 'R'), { do: 'outputs', begin: 0, end: 4 * BLOCK, mode: 'R' }],
    leaves: [leaves(2, BLOCK, 16 * M, 1, 'R')],
    tables: 1,
    answers: ['ok', '0x1000000 + 0x200000 to 0x400000'],
  },
  {
    name: 'get_range_by_mode_non_identity_two_range',
    steps: [mapTo(0, BLOCK, BLOCK, 'R'), mapTo(BLOCK, 2 * BLOCK, 8 * M, 'R'), { do: 'outputs', begin: 0, end: 2 * BLOCK, mode: 'R' }],
    leaves: [leaves(2, 0, BLOCK, 1, 'R'), leaves(2, BLOCK, 8 * M, 1, 'R')],
    tables: 1,
    answers: ['ok', 'ok', '0x200000 + 0x200000 to 0x200000, 0x800000 + 0x200000 to 0x400000'],
  },
  {
    name: 'get_range_by_mode_multilevel',
    steps: [
      mapTo(BLOCK - PAGE, BLOCK, 6 * M - PAGE, 'R'),
      mapTo(BLOCK, 2 * BLOCK, 6 * M, 'R'),
      { do: 'outputs', begin: 0, end: G, mode: 'R' },
    ],
    leaves: [leaves(3, BLOCK - PAGE, 6 * M - PAGE, 1, 'R'), leaves(2, BLOCK, 6 * M, 1, 'R')],
    tables: 2,
    answers: ['ok', 'ok', '0x5ff000 + 0x201000 to 0x400000'],
  },
];

export const HAFNIUM_CASES: readonly Case[] = [...INIT, ...MAP, ...UNMAP, ...ASK, ...DEFRAG, ...RANGES];
