import { done, refused, type Outcome } from '@granule/contract';

/**
 * Litmus tests as plain text. Lines, `#` begins a comment:
 *
 *     litmus NAME
 *     from   where the verdict is from
 *     stage1 T asid 1: x -> a, y -> invalid      a table of stage 1, TTBR0 with its ASID
 *     stage2 S vmid 1: A -> a                    a table of stage 2
 *     run    0: T S                              the tables in force on a PE at the start; default the first of each stage
 *     0: OPERATION ; OPERATION …                 what PE 0 does, in order
 *     allowed | forbidden | required CONDITIONS  `required`: every outcome has it
 *     not-modelled REASON                        instead of operations and verdicts
 *
 * Names: x … z are VAs, each with a table of its own at level 3, and x' is the next page; A … D are IPAs, a … h pages of physical memory. A mapping is
 * `x -> a`, with `ro`, `global`, `noaf`, `dbm`, or `x -> block a` for a block of level 2, or `x -> invalid`. Where there is a stage 2, stage-1 tables map to
 * IPAs (`x -> A`).
 *
 * Operations: `set T x -> a`, `set-table T x -> invalid` (the entry of level 2, which leads to the table of x), `read r x`, `write r x v`, `fetch r x`, `peek r
 * T x` (an ordinary load of the descriptor), `post m`, `poll r m`, `await m` (ordinary accesses to a flag; `await` loads until
 * it is set), `dsb D`, `isb`, `eret` (a context synchronisation event all
 * the same), `tlbi NAME [x | A] [asid N] [ttl N]`, `msr ttbr0 T [asid N]`, `msr vttbr S [vmid N]`.
 *
 * What a register holds: of a read the name of the page, or what was written to it; `translation`, `permission`, `access-flag` for a fault of stage 1, with
 * `2` behind for one of stage 2; `conflict`; of a write `ok` or the fault; of a flag 0 or 1. A condition is `r=value`, `r=fault` for any fault but a
 * conflict; several are a conjunction.
 */
export interface Litmus {
  readonly name: string;
  readonly from: string;
  readonly stage1: readonly LitmusTable[];
  readonly stage2: readonly LitmusTable[];
  /** Of each PE the tables in force at the start, by name. */
  readonly inForce: ReadonlyMap<number, readonly string[]>;
  /** Of each PE its operations, as words. */
  readonly programs: readonly (readonly (readonly string[])[])[];
  readonly verdicts: readonly Verdict[];
  readonly notModelled: string | undefined;
}

export interface LitmusTable {
  readonly name: string;
  /** ASID or VMID. */
  readonly tag: number;
  readonly mappings: readonly Mapping[];
}

export interface Mapping {
  readonly from: string;
  /** A page, an IPA, or `invalid`. */
  readonly to: string;
  readonly block: boolean;
  readonly flags: readonly string[];
}

export interface Verdict {
  readonly kind: 'allowed' | 'forbidden' | 'required';
  readonly conditions: readonly { readonly register: string; readonly value: string }[];
  readonly text: string;
}

/** `x -> [block] a [flags]`, already split into words. */
export function mappingOf(words: readonly string[]): Mapping | undefined {
  const [from, arrow, ...rest] = words;
  const block = rest[0] === 'block';
  const [to, ...flags] = block ? rest.slice(1) : rest;
  return arrow === '->' && to !== undefined ? { from, to, block, flags } : undefined;
}

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

function tableOf(text: string): LitmusTable | undefined {
  const [head, tail = ''] = text.split(/:(.*)/s);
  const [name, , tag] = words(head);
  const mappings = tail.split(',').filter((each) => each.trim() !== '').map((each) => mappingOf(words(each)));
  return mappings.every((each) => each !== undefined) ? { name, tag: Number(tag), mappings } : undefined;
}

function verdictOf(kind: Verdict['kind'], text: string): Verdict | undefined {
  const conditions = words(text).map((each) => each.split('='));
  return conditions.every(({ length }) => length === 2) ? { kind, text, conditions: conditions.map(([register, value]) => ({ register, value })) } : undefined;
}

class Draft {
  from = '';
  readonly stage1: LitmusTable[] = [];
  readonly stage2: LitmusTable[] = [];
  readonly inForce = new Map<number, readonly string[]>();
  readonly programs: (readonly string[])[][] = [];
  readonly verdicts: Verdict[] = [];
  notModelled: string | undefined;

  constructor(readonly name: string) {}

  /** False: the line cannot be read. */
  line(keyword: string, rest: string): boolean {
    const add = <T>(list: T[], value: T | undefined): boolean => value !== undefined && list.push(value) > 0;
    switch (keyword) {
      case 'from':
        this.from = rest;
        return true;
      case 'stage1':
        return add(this.stage1, tableOf(rest));
      case 'stage2':
        return add(this.stage2, tableOf(rest));
      case 'run': {
        const [pe, tables] = rest.split(':');
        this.inForce.set(Number(pe), words(tables));
        return true;
      }
      case 'allowed':
      case 'forbidden':
      case 'required':
        return add(this.verdicts, verdictOf(keyword, rest));
      case 'not-modelled':
        this.notModelled = rest;
        return true;
      default:
        return this.program(keyword, rest);
    }
  }

  private program(keyword: string, rest: string): boolean {
    const pe = /^(\d):$/.exec(keyword);
    if (pe === null) return false;
    const operations = rest.split(';').map(words).filter(([first]) => first !== '');
    (this.programs[Number(pe[1])] ??= []).push(...operations);
    return true;
  }
}

/** Reads a file of litmus tests. Refused with the line: `litmus.syntax`. */
export function parseLitmus(text: string): Outcome<readonly Litmus[]> {
  const drafts: Draft[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.replace(/#.*/, '').trim();
    if (line === '') continue;
    const [keyword] = line.split(/\s/, 1);
    const rest = line.slice(keyword.length).trim();
    if (keyword === 'litmus') drafts.push(new Draft(rest));
    else if (drafts.at(-1)?.line(keyword, rest) !== true) return refused('litmus.syntax', `Line ${index + 1} is not of a litmus test: ${line}`, 'litmus');
  }
  return done(drafts);
}
