import { done, DONE, notModelled, refused, type AttributeRequest, type Backend, type Features, type Format, type Outcome, type Registers, type Words } from '@granule/contract';
import { levelShift, tableGeometry } from '@granule/geometry';
import { alignDown } from '@granule/geometry/bits';
import type { MainMemory } from '../cache/hierarchy.js';
import type { Litmus, LitmusTable, Mapping } from './litmus-text.js';

/** Memory in 4 KiB pages; a copy costs what was written. */
export class PageMemory implements MainMemory {
  readonly #pages = new Map<number, Uint8Array>();

  copy(): PageMemory {
    const copy = new PageMemory();
    for (const [page, bytes] of this.#pages) copy.#pages.set(page, bytes.slice());
    return copy;
  }

  read(pa: number, into: Uint8Array): boolean {
    const page = this.#pages.get(alignDown(pa, 12));
    if (page === undefined) into.fill(0);
    else into.set(page.subarray(pa % 4096, (pa % 4096) + into.length));
    return true;
  }

  write(pa: number, bytes: Uint8Array): Outcome<undefined> {
    const at = alignDown(pa, 12);
    let page = this.#pages.get(at);
    if (page === undefined) {
      page = new Uint8Array(4096);
      this.#pages.set(at, page);
    }
    page.set(bytes, pa % 4096);
    return DONE;
  }

  word(pa: number): bigint {
    const bytes = new Uint8Array(8);
    this.read(pa, bytes);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }

  setWord(pa: number, value: bigint): void {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    this.write(pa, bytes);
  }
}

const BLOCK = 2 ** 21;
/** Tables lie here, and stage 2 maps them to themselves by a block. */
const TABLES = 0x4000_0000;
const FLAGS_AT = TABLES + BLOCK - 4096;
const NAMES = 'abcdefgh';

/** Where the names of a test are. Pages of physical memory and IPAs begin blocks, so that either can be mapped by one. */
export function addressOf(name: string): number | undefined {
  const next = name.endsWith("'");
  const plain = next ? name.slice(0, -1) : name;
  const offset = next ? 4096 : 0;
  if (/^[x-z]$/.test(plain)) return (1 + plain.charCodeAt(0) - 'x'.charCodeAt(0)) * BLOCK + offset;
  if (/^[A-D]$/.test(plain)) return 0x2000_0000 + (plain.charCodeAt(0) - 'A'.charCodeAt(0)) * BLOCK + offset;
  if (/^[a-h]$/.test(plain)) return 0x8000_0000 + NAMES.indexOf(plain) * BLOCK + offset;
  return undefined;
}

/** Contents are names: a page holds its own, a store another. */
export const contentOf = (name: string): bigint => BigInt(`0x${hexOf(name)}`);

function hexOf(name: string): string {
  return Array.from(name, (each) => each.charCodeAt(0).toString(16).padStart(2, '0')).join('') || '0';
}

/** The name that a word stands for. */
export function nameOf(content: bigint): string {
  let name = '';
  for (let rest = content; rest > 0n; rest >>= 8n) name = String.fromCharCode(Number(rest & 0xffn)) + name;
  return name;
}

export const flagAddress = (name: string): number => FLAGS_AT + 8 * (name.charCodeAt(0) % 64);

/** Features that tests are run with. */
export const LITMUS_FEATURES: Partial<Features> = { paBits: 48, vmidBits: 8, haf: true, hdbs: true, xnx: true };
const MAIR = 0xffn;
/** TCR_EL1: 39-bit VAs below, none above, walks Inner Shareable Write-Back, 48-bit IPAs, ASIDs of 8 bits, hardware access flag and dirty state. */
const TCR = (3n << 39n) | (5n << 32n) | (1n << 23n) | (3n << 12n) | (1n << 10n) | (1n << 8n) | 25n;
const SCTLR = (1n << 12n) | (1n << 2n) | 1n;

interface Placed {
  readonly table: LitmusTable;
  readonly format: Format;
  readonly root: number;
}

/** The tables of a test in memory, and where each descriptor is. */
export class LitmusMemory {
  readonly memory = new PageMemory();
  readonly #tables = new Map<string, Placed>();
  #free = TABLES;

  private constructor(
    readonly first: Format,
    readonly second: Format,
    readonly features: Partial<Features>,
    private readonly backend: Backend,
  ) {}

  /** Not modelled: `litmus.backend`, a backend without AArch64's EL1&0. */
  static of(test: Litmus, backend: Backend, managed: boolean): Outcome<LitmusMemory> {
    const features = managed ? LITMUS_FEATURES : { ...LITMUS_FEATURES, haf: false, hdbs: false };
    const geometry = (stage: 1 | 2) => tableGeometry({ stage, granule: '4K', iaBits: 39, oaBits: 48, startLevel: 1, ds: false });
    const first = backend.format('el10', { geometry: geometry(1), mair: MAIR, features });
    const second = backend.format('s2', { geometry: geometry(2), features });
    if (first.kind !== 'done' || second.kind !== 'done') return notModelled('litmus.backend', `Litmus tests are of AArch64, and ${backend.name} is not.`, 'litmus');
    const made = new LitmusMemory(first.value, second.value, features, backend);
    return made.#place(test);
  }

  #place(test: Litmus): Outcome<LitmusMemory> {
    for (const name of NAMES) for (const page of [name, `${name}'`]) this.memory.setWord(addressOf(page)!, contentOf(page));
    const all = [...test.stage1.map((table) => ({ table, format: this.first })), ...test.stage2.map((table) => ({ table, format: this.second }))];
    for (const { table, format } of all) this.#tables.set(table.name, { table, format, root: this.#take() });
    for (const { name } of test.stage2) this.#entry(name, TABLES, 2, this.#leaf(this.second, { from: '', to: '', block: true, flags: [] }, TABLES));
    for (const { table } of all) {
      for (const mapping of table.mappings) {
        const set = this.descriptorFor(table.name, mapping);
        if (set.kind !== 'done') return set;
        this.memory.setWord(set.value.pa, (BigInt(set.value.hi) << 32n) | BigInt(set.value.lo));
      }
    }
    return done(this);
  }

  /** Registers with these tables in force. */
  registers(names: readonly string[]): Registers {
    const placed = names.map((name) => this.#tables.get(name)!);
    const one = placed.find(({ format }) => format.stage === 1);
    const two = placed.find(({ format }) => format.stage === 2);
    const managed = this.features.haf === true ? 3n << 39n : 0n;
    const base: Registers = {
      SCTLR_EL1: SCTLR,
      TCR_EL1: (TCR & ~(3n << 39n)) | managed,
      MAIR_EL1: MAIR,
      TTBR0_EL1: one === undefined ? 0n : this.baseRegister(one.table.name)!,
      HCR_EL2: 1n << 31n,
    };
    const host = two && this.backend.registers.encodeStage2({ geometry: two.format.geometry, features: this.features, root: two.root, ha: false });
    if (two === undefined || host?.kind !== 'done') return base;
    return { ...base, HCR_EL2: (1n << 31n) | 1n, VTCR_EL2: host.value.vtcr, VTTBR_EL2: this.baseRegister(two.table.name)! };
  }

  /** TTBR0_EL1 or VTTBR_EL2 for a table; undefined where there is no such table. */
  baseRegister(name: string, tag?: number): bigint | undefined {
    const placed = this.#tables.get(name);
    return placed && (BigInt(tag ?? placed.table.tag) << 48n) | BigInt(placed.root);
  }

  isStage2(name: string): boolean {
    return this.#tables.get(name)?.format.stage === 2;
  }

  /** Where the descriptor of a mapping is, and what it becomes. Refused: `litmus.name`. */
  descriptorFor(table: string, mapping: Mapping, level: 2 | 3 = mapping.block ? 2 : 3): Outcome<{ readonly pa: number } & Words> {
    const placed = this.#tables.get(table);
    const ia = addressOf(mapping.from);
    const oa = mapping.to === 'invalid' ? 0 : addressOf(mapping.to);
    if (placed === undefined || ia === undefined || oa === undefined) {
      return refused('litmus.name', `There is no ${table} ${mapping.from} -> ${mapping.to}.`, 'litmus');
    }
    const words = mapping.to === 'invalid' ? { lo: 0, hi: 0 } : this.#leaf(placed.format, { ...mapping, block: level === 2 }, oa);
    return done({ pa: this.#slot(table, ia, level), ...words });
  }

  #entry(table: string, ia: number, level: 2 | 3, { lo, hi }: Words): void {
    this.memory.setWord(this.#slot(table, ia, level), (BigInt(hi) << 32n) | BigInt(lo));
  }

  /** The place of a descriptor; the tables on the way are made, once, and stay where they are. */
  #slot(table: string, ia: number, level: 2 | 3): number {
    const { root, format } = this.#tables.get(table)!;
    let at = root;
    for (let each = 1; each < level; each += 1) at = this.#next(format, `${table} ${each}`, at + this.#index(ia, each as 1 | 2) * 8, alignDown(ia, levelShift('4K', each as 1 | 2)));
    return at + this.#index(ia, level) * 8;
  }

  readonly #children = new Map<string, number>();

  #next(format: Format, key: string, slot: number, base: number): number {
    const known = this.#children.get(`${key} ${base}`);
    if (known !== undefined) return known;
    const child = this.#take();
    this.#children.set(`${key} ${base}`, child);
    const bits = format.encodeTable();
    const address = format.encodeOutput(child, 12);
    if (bits.kind !== 'done' || address.kind !== 'done') throw new RangeError('A table does not fit the format.');
    const type = format.numbers.tableType[2];
    this.memory.setWord(slot, (BigInt(bits.value.hi) << 32n) | BigInt((bits.value.lo | address.value.lo | type) >>> 0) | (BigInt(address.value.hi) << 32n));
    return child;
  }

  #index(ia: number, level: 1 | 2 | 3): number {
    return Math.floor(ia / 2 ** levelShift('4K', level)) % 512;
  }

  #take(): number {
    const page = this.#free;
    this.#free += 4096;
    return page;
  }

  #leaf(format: Format, { block, flags }: Mapping, output: number): Words {
    const has = (flag: string): boolean => flags.includes(flag);
    const stage1: AttributeRequest = format.stage === 1 ? { nG: !has('global'), attrIndex: 0, px: true } : { px: true, ux: true };
    const level = block ? 2 : 3;
    const bits = format.encodeLeaf({ read: true, write: !has('ro'), af: !has('noaf'), shareability: 'inner', ...(has('dbm') && { dbm: true }), ...stage1 }, level);
    const address = format.encodeOutput(output, levelShift('4K', level));
    if (bits.kind !== 'done') throw new RangeError(bits.sentence);
    if (address.kind !== 'done') throw new RangeError(address.sentence);
    return { lo: (bits.value.lo | address.value.lo | format.numbers.leafType[level + 1]) >>> 0, hi: (bits.value.hi | address.value.hi) >>> 0 };
  }
}

