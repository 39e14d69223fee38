import {
  ENTRY,
  type Attributes,
  type AttributeRequest,
  type FaultType,
  type Format,
  type FormatConfig,
  type PageTable,
  type PageTableCore,
  type TableMemory,
  type TableWalk,
  type Translated,
  type WalkAccess,
  type Walker,
} from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { hex, toBigint } from '@granule/geometry/bits';
import { ensure } from '../law.js';
import type { MemoryFactory } from '../pgtable/subject.js';
import { valueOf } from '../words.js';
import { foundMemory, hasUser, mayWithhold, rightFor, rightsOf, shareabilities } from './expectation.js';

const ACCESSES: readonly WalkAccess[] = (['read', 'write', 'fetch'] as const).flatMap((type) => [
  { type, privileged: true },
  { type, privileged: false },
]);

export const READ: WalkAccess = { type: 'read', privileged: true };

/** What the suite asked a core to map. */
export interface Mapped {
  readonly ia: number;
  readonly size: number;
  readonly output: number;
  readonly request: AttributeRequest;
}

/** Everything that one run of the suite is about. */
export interface WalkerSubject {
  readonly format: Format;
  readonly config: FormatConfig;
  readonly core: PageTableCore;
  readonly walker: Walker;
  readonly memory: MemoryFactory;
  /** Level that a fault outside of the input range reports; undefined: no such address can be formed. */
  readonly outsideLevel: Level | undefined;
}

/** The entry at which a walk ends. */
interface End {
  readonly level: Level;
  readonly lo: number;
  readonly hi: number;
  readonly word: number;
}

/** A table of the core beside a walker that is let loose on it. */
export class WalkBench {
  readonly table: PageTable;
  readonly memory: TableMemory;
  private readonly walk: TableWalk;

  /** @param pool table pages beside the entry tables */
  constructor(readonly subject: WalkerSubject, pool = 24) {
    const { format, config, core, walker } = subject;
    const { pageShift, entryTables } = format.geometry;
    this.memory = subject.memory({ pageShift, pages: pool + entryTables });
    this.table = valueOf('walk.core', core.create({ format, memory: this.memory }), 'create');
    this.walk = valueOf('walk.open', walker.open({ format, config, memory: this.memory, root: this.table.root }), 'open');
  }

  map({ ia, size, output, request }: Mapped): void {
    valueOf('walk.core', this.table.map(ia, size, output, request), `map of ${hex(ia)}`);
  }

  /** The entry at which a naive walk by the format's own functions ends; levels before `to` are passed as tables. */
  end(ia: number, to: Level = 3): End {
    const { memory, table } = this;
    const { format } = this.subject;
    const { granule, startLevel, stride, rootEntries } = format.geometry;
    let base = table.root;
    let entries = rootEntries;
    for (let level = startLevel; ; level = (level + 1) as Level, entries = 2 ** stride) {
      const index = Math.floor(ia / 2 ** levelShift(granule, level)) % entries;
      const word = memory.wordOf(base + 8 * index, 8);
      const lo = memory.words[word];
      const hi = memory.words[word + 1];
      if (level === to || format.kind(lo, hi, level) !== ENTRY.table) return { level, lo, hi, word };
      base = format.tableOutput(lo, hi);
    }
  }

  /** Sets or clears bits of the entry of a level above `ia`, as nothing in a core would. */
  patch(ia: number, level: Level, change: (lo: number, hi: number) => { readonly lo: number; readonly hi: number }): void {
    const { lo, hi, word } = this.end(ia, level);
    const changed = change(lo, hi);
    this.memory.words[word] = changed.lo;
    this.memory.words[word + 1] = changed.hi;
  }

  /** The accesses that the regime knows. */
  accesses(): readonly WalkAccess[] {
    return hasUser(this.subject.format) ? ACCESSES : ACCESSES.filter(({ privileged }) => privileged);
  }

  /** Every access to an address of this mapping has the outcome that the request asks for. `attributes`: what they have become since. */
  finds(mapped: Mapped, ia: number, attributes: Partial<Attributes> = {}): void {
    const { format } = this.subject;
    const { level } = this.end(ia);
    const bits = valueOf('walk.format', format.encodeLeaf(mapped.request, level), 'encodeLeaf');
    const want = { ...format.decodeLeaf(bits.lo, bits.hi, level), ...attributes };
    for (const access of this.accesses()) {
      if (want.af) this.answers(ia, access, level, mapped.output + (ia - mapped.ia), want);
      else this.faults(ia, access, 'access-flag', level);
    }
  }

  private answers(ia: number, access: WalkAccess, level: Level, output: number, want: Attributes): void {
    const rights = rightsOf(this.subject.format, want);
    const privilege = access.privileged ? 'privileged' : 'user';
    const allowed = rights[privilege]?.[rightFor(access)] === true;
    if (!allowed) {
      this.faults(ia, access, 'permission', level);
      return;
    }
    const answer = this.walk.translate(ia, access);
    const where = this.at(ia, access);
    const device = want.memory.startsWith('device-');
    if (answer.kind === 'fault' && access.type === 'fetch' && (device || mayWithhold(rights, privilege))) {
      this.faults(ia, access, 'permission', level);
      return;
    }
    ensure('walk.found', answer.kind === 'done', () => `${where} is mapped and answered with ${answer.kind === 'fault' ? answer.fault.type : ''} fault`);
    this.sameTranslation(answer.value, where, level, output, want);
    this.sameMemory(answer.value, where, access, want);
  }

  private sameTranslation(value: Translated, where: string, level: Level, output: number, want: Attributes): void {
    ensure('walk.output', value.output === output, () => `${where} goes to ${hex(value.output)} and must go to ${hex(output)}`);
    ensure('walk.level', value.level === level, () => `${where} ends at level ${value.level} and must end at level ${level}`);
    const rights = rightsOf(this.subject.format, want);
    ensure('walk.privileges', (value.user === undefined) === (rights.user === undefined), () => `${where} tells of ${value.user ? 'two levels' : 'one level'}`);
    for (const level of ['privileged', 'user'] as const) {
      for (const right of ['read', 'write', 'execute'] as const) {
        const has = value[level]?.[right];
        const asked = rights[level]?.[right];
        const withheld = right === 'execute' && has === false && mayWithhold(rights, level);
        ensure('walk.rights', has === asked || withheld, () => `${where}: right of ${level} to ${right} is ${has} and must be ${asked}`);
      }
    }
  }

  private sameMemory(value: Translated, where: string, access: WalkAccess, want: Attributes): void {
    const types = foundMemory(want.memory, access);
    if (types.length === 0) return;
    ensure('walk.memory', types.includes(value.memory), () => `${where} finds ${value.memory} and must find ${types.join(' or ')}`);
    const sharing = shareabilities(value.memory, want.shareability);
    ensure('walk.shareability', sharing.includes(value.shareability), () => `${where} is ${value.shareability} shareable and must be ${sharing.join(' or ')}`);
  }

  /** The access faults in this way. */
  faults(ia: number, access: WalkAccess, type: FaultType, level: Level): void {
    const { format } = this.subject;
    const answer = this.walk.translate(ia, access);
    const where = this.at(ia, access);
    ensure(`walk.${type}`, answer.kind === 'fault', () => `${where} is a ${type} fault and was translated`);
    const { fault } = answer;
    ensure(`walk.${type}`, fault.type === type, () => `${where} is a ${type} fault and was answered with ${fault.type}`);
    ensure('walk.fault-level', fault.level === level, () => `${where}: ${type} fault of level ${fault.level}, must be of level ${level}`);
    ensure('walk.fault-stage', fault.stage === format.stage && !fault.s1ptw, () => `${where}: fault of stage ${fault.stage}${fault.s1ptw ? ', on a walk' : ''}`);
    ensure('walk.fault-access', fault.access === access.type, () => `${where}: fault of a ${fault.access}`);
    if (ia < 0) return;
    const addressed = format.stage === 2 ? fault.ipa === ia : fault.address === ia && fault.upper === format.upper;
    ensure('walk.fault-address', addressed, () => `${where}: fault at ${hex(format.stage === 2 ? fault.ipa ?? 0 : fault.address)}${fault.upper ? ' of the upper range' : ''}`);
  }

  /** The address is not mapped: a translation fault at the level where the walk ends. */
  misses(ia: number): void {
    const { lo, hi, level } = this.end(ia);
    const kind = this.subject.format.kind(lo, hi, level);
    ensure('walk.core', kind !== ENTRY.leaf, () => `${hex(ia)} is mapped by ${hex(toBigint(lo, hi))} and should not be`);
    for (const access of this.accesses()) this.faults(ia, access, 'translation', level);
  }

  private at(ia: number, { type, privileged }: WalkAccess): string {
    const { regime, geometry } = this.subject.format;
    return `${privileged ? 'privileged' : 'user'} ${type} of ${ia < 0 ? '-' : ''}${hex(Math.abs(ia))} (${regime}, ${geometry.granule}, ${geometry.iaBits} bits)`;
  }
}
