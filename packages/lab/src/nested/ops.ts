import { type Outcome, done, refused } from '@granule/contract';
import { parseWord } from '@granule/geometry/bits';

/** One op of a guest's list: a name and three operands. */
export interface Op {
  readonly name: string;
  readonly args: readonly [bigint, bigint, bigint];
  /** In the file, from 1. */
  readonly line: number;
}

/** The op lists of a nested run: what the guest hypervisor does, and the list of each nested guest by its IPA. */
export interface OpLists {
  readonly l1: readonly Op[];
  readonly l2: ReadonlyMap<bigint, readonly Op[]>;
}

const SOURCE = 'granule run directory, ops.txt';
const L2_LIST = /^# L2 list \S+ at (0x[\da-f]+)\s*$/iu;
const L1_LIST = /^# L1 list\s*$/u;

/**
 * Reads `ops.txt` of a nested run: op lists under the headings `# L2 list N at IPA` and `# L1 list`, one op a line. Refused: `ops.line` for a line that is no op,
 * `ops.operand` for tables that no architecture has, `ops.no-list` where there is no list of the guest hypervisor.
 */
export function readOps(lines: Iterable<string>): Outcome<OpLists> {
  const l1: Op[] = [];
  const l2 = new Map<bigint, Op[]>();
  let list: Op[] | undefined;
  let line = 0;
  for (const text of lines) {
    line += 1;
    const nested = L2_LIST.exec(text);
    if (nested !== null) {
      list = [];
      l2.set(BigInt(nested[1]), list);
    } else if (L1_LIST.test(text)) {
      list = l1;
    } else if (text.trim() !== '' && !text.startsWith('#')) {
      const op = opOf(text, line);
      if (op === undefined) {
        return refused('ops.line', `ops.txt:${line}: "${text.slice(0, 60)}" is not an op with its operands in hexadecimal.`, SOURCE);
      }
      if (!isSound(op)) {
        const sentence = `ops.txt:${line}: ${text.trim().slice(0, 60)} asks for a table of another granule than 4K, 16K or 64K, of more than 16 entry tables, or at no level.`;
        return refused('ops.operand', sentence, SOURCE);
      }
      (list ??= l1).push(op);
    }
  }
  return l1.length === 0 ? refused('ops.no-list', 'ops.txt has no op list of the guest hypervisor.', SOURCE) : done({ l1, l2 });
}

/** Granule and sizes of the tables that an op is about, where it is about any. */
function isSound({ name, args: [, level, packed] }: Op): boolean {
  const [low, shift] = [Number(packed & 0xffffn), packed >> 16n];
  const granule = shift === 12n || shift === 14n || shift === 16n;
  if (name === 'NVROOT') {
    return granule && [1, 2, 4, 8, 16].includes(low) && level <= 3n;
  }
  return (name !== 'S2MAP' && name !== 'S2UNMAP') || (granule && low % 256 <= 3);
}

function opOf(text: string, line: number): Op | undefined {
  const [name, ...operands] = text.trim().split(/\s+/u);
  const values = operands.map((each) => parseWord(each));
  if (!/^[A-Z][A-Z\d]*$/u.test(name) || values.length > 3 || values.includes(undefined)) {
    return undefined;
  }
  const [a = 0n, b = 0n, c = 0n] = values;
  return { name, args: [a, b, c], line };
}
