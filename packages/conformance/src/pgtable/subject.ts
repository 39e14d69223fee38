import {
  DONE,
  ENTRY,
  type Format,
  type LookupResult,
  type Outcome,
  type PageTable,
  type PageTableCore,
  type TableMemory,
} from '@granule/contract';
import type { Level } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import { recorder, type Recorder } from '../effects/recorder.js';
import { failureForm } from '../format/refusals.js';
import { ensure } from '../law.js';
import { commandText, type Command } from './commands.js';
import { expectationOf, type Expectation, type StatesExpected } from './expectation.js';
import { invalidates, Shadow, writesAreNamed } from './replay.js';
import { countTables, endOf, meets, newTables, showWords, spanOf, tablesOf, wordOf, type State } from './state.js';
import { findAll, type Found } from './walker.js';

/** Makes an empty bounded memory of so many pages of 2^pageShift bytes. */
export type MemoryFactory = (options: { readonly pageShift: number; readonly pages: number }) => TableMemory;

interface Snapshot {
  readonly words: Uint32Array;
  readonly counts: Int32Array;
  readonly taken: number;
}

/** One table under test beside its model. Every command is run on it and everything that can be seen is compared. */
export class Subject {
  readonly table: PageTable;
  state: State = [];
  private readonly memory: TableMemory;
  private readonly recorder: Recorder | undefined;
  private readonly shadow: Shadow;

  constructor(
    core: PageTableCore,
    private readonly format: Format,
    memory: MemoryFactory,
    private readonly pages: number,
    recorded: boolean,
  ) {
    const { pageShift, entryTables } = format.geometry;
    this.memory = checkedMemory(memory({ pageShift, pages: pages + entryTables }));
    this.recorder = recorded ? recorder() : undefined;
    this.shadow = new Shadow(format);
    const created = core.create({ format, memory: this.memory, ...(this.recorder === undefined ? {} : { sink: this.recorder }) });
    ensure('create.done', created.kind === 'done', () => `create is ${created.kind}`);
    this.table = created.value;
    this.shadow.apply('create', this.recorder?.drain() ?? []);
    const found = findAll(format, this.memory, this.table.root);
    this.holds('create', found, 'create');
    this.agree('create', found, 'create');
  }

  run(command: Command): void {
    const expectation = expectationOf(this.format, this.state, command, this.pages);
    const before = snapshot(this.memory);
    const outcome = perform(this.table, command);
    const effects = this.recorder?.drain() ?? [];
    const found = findAll(this.format, this.memory, this.table.root);
    const { op } = command;
    if (outcome === undefined) {
      this.ask(command);
    } else {
      this.state = this.settle(command, expectation, outcome, before, found);
    }
    if (outcome !== undefined && outcome.kind !== 'done') {
      const written = effects.filter((each) => each.type === 'write' || each.type === 'take' || each.type === 'free');
      ensure(`${op}.refused-no-effects`, written.length === 0, `${commandText(command)} did nothing and told of writes or pages`);
    }
    this.shadow.apply(op, effects);
    const settled = outcome?.kind === 'done' && expectation.type === 'states' && expectation.undone !== true;
    if (!settled) {
      this.holds(op, found, commandText(command));
    }
    this.agree(op, found, commandText(command));
    if (this.recorder !== undefined) {
      this.shadow.compare(op, this.memory, found);
      writesAreNamed(this.format, op, effects, found);
      if (op === 'map' || op === 'unmap' || op === 'annotate' || op === 'merge' || op === 'split') {
        invalidates(this.format, op, effects);
      }
    }
  }

  /** Frees the table: every page is given back. */
  destroy(): void {
    this.table.destroy();
    ensure('destroy.pages', this.memory.taken === 0, () => `${this.memory.taken} pages are still taken after destroy`);
  }

  /** The state after the command, once the outcome is one that it may have. */
  private settle(command: Command, expectation: Expectation, outcome: Outcome<unknown>, before: Snapshot, found: Found): State {
    const { op } = command;
    const what = (): string =>
      `${commandText(command)} is ${outcome.kind}${outcome.kind === 'done' ? '' : ` (${outcome.id}: ${outcome.sentence})`}`;
    if (outcome.kind !== 'done') {
      failureForm(outcome);
      ensure(`${op}.refused-changes-nothing`, unchanged(this.memory, before), () => `${what()} and changed memory, counts or pages taken`);
    }
    switch (expectation.type) {
      case 'refused':
        ensure(
          `${op}.outcome`,
          outcome.kind === 'refused' && expectation.ids.some((id) => outcome.id.startsWith(id)),
          () => `${what()} and must be refused: ${expectation.ids.join(' or ')}`,
        );
        return this.state;
      case 'no-leaf':
        ensure(`${op}.outcome`, outcome.kind === 'refused' || outcome.kind === 'retry', () => `${what()} where there is no leaf`);
        return this.state;
      case 'states':
        this.poolAllows(op, expectation, outcome, before, what);
        return outcome.kind === 'done' ? this.settleDone(command, expectation, outcome.value, found) : this.state;
    }
  }

  /** Done, unless the pool is exhausted; refused for that only where the operation may need more pages than are free. */
  private poolAllows(op: string, expectation: StatesExpected, outcome: Outcome<unknown>, before: Snapshot, what: () => string): void {
    if (outcome.kind === 'retry' && expectation.mayRetry === true) {
      return;
    }
    const free = this.pages + this.format.geometry.entryTables - before.taken;
    const tables = tablesOf(this.format, this.state);
    const needs = expectation.states.map((each) => (each === undefined ? undefined : tablesOf(this.format, each)));
    const least = needs[0] === undefined ? Infinity : countTables(needs[0]) - countTables(tables);
    const most = Math.max(...needs.map((each) => (each === undefined ? Infinity : newTables(tables, each))));
    if (outcome.kind === 'done') {
      ensure(`${op}.pool`, least <= free, () => `${what()} although it takes ${least} more tables and ${free} pages were free`);
      return;
    }
    ensure(`${op}.outcome`, outcome.kind === 'refused' && outcome.id === 'pool.exhausted', () => `${what()} and must be done`);
    ensure(`${op}.pool`, most > free, () => `${what()} although it takes ${most} tables and ${free} pages are free`);
  }

  private settleDone(command: Command, expectation: StatesExpected, answer: unknown, found: Found): State {
    if (expectation.undone === true) {
      return this.state;
    }
    const built = expectation.states.filter((each) => each !== undefined);
    const fitting = built.find((each) => differs(this.format, found, each) === undefined);
    const state = fitting ?? built[0];
    const why = fitting !== undefined ? undefined : differs(this.format, found, state);
    ensure(`${command.op}.contents`, why === undefined, () => `after ${commandText(command)} ${why ?? ''}`);
    if (expectation.answer !== undefined) {
      const due = expectation.answer(state);
      ensure(
        `${command.op}.answer`,
        answer === due,
        () => `${commandText(command)} answers ${String(answer)} and must answer ${String(due)}`,
      );
    }
    return state;
  }

  /** What a walk finds is the model's state. */
  private holds(op: string, found: Found, after: string): void {
    const why = differs(this.format, found, this.state);
    ensure(`${op}.contents`, why === undefined, () => `after ${after} ${why ?? ''}`);
  }

  /** Counts and pages taken agree with what a walk finds. */
  private agree(op: string, found: Found, after: string): void {
    const { pageShift, entryTables, startLevel } = this.format.geometry;
    for (const page of found.pages) {
      const slot = Math.floor(this.memory.wordOf(page.pa, 8) / 2 ** (pageShift - 2));
      const count = this.memory.counts[slot];
      ensure(
        `${op}.counts`,
        count === page.nonZero,
        () => `after ${after} the level-${page.level} table at ${hex(page.pa)} has count ${count} and ${page.nonZero} non-zero entries`,
      );
      const empty = page.nonZero === 0 && page.level > startLevel;
      ensure(
        `${op}.empty-table`,
        !empty,
        () => `after ${after} the level-${page.level} table for ${hex(page.start)} is empty and still there`,
      );
    }
    const reachable = entryTables + countTables(tablesOf(this.format, this.state));
    ensure(
      `${op}.taken`,
      this.memory.taken === reachable,
      () => `after ${after} ${this.memory.taken} pages are taken and ${reachable} reachable`,
    );
  }

  /** lookup and query, against the model. */
  private ask(command: Command): void {
    if (command.op === 'lookup') {
      lookupAgrees(this.format, this.table, this.state, command.ia);
    } else if (command.op === 'query') {
      queryAgrees(this.format, this.table, this.state, command);
    }
  }
}

/** A memory that complains where a page is given back with words in it. */
function checkedMemory(memory: TableMemory): TableMemory {
  const give = memory.give.bind(memory);
  memory.give = (pa, pages) => {
    for (let i = 0; i < pages; i++) {
      const word = memory.wordOf(pa + i * 2 ** memory.pageShift, 2 ** memory.pageShift);
      const zero = memory.words.subarray(word, word + 2 ** (memory.pageShift - 2)).every((each) => each === 0);
      ensure('give.zeroed', zero, () => `the page at ${hex(pa)} is given back and not zeroed`);
    }
    give(pa, pages);
  };
  return memory;
}

function snapshot(memory: TableMemory): Snapshot {
  return { words: memory.words.slice(), counts: memory.counts.slice(), taken: memory.taken };
}

function unchanged(memory: TableMemory, before: Snapshot): boolean {
  const same = (now: ArrayLike<number>, then: ArrayLike<number>): boolean => {
    for (let i = 0; i < Math.max(now.length, then.length); i++) {
      if ((now[i] ?? 0) !== (then[i] ?? 0)) {
        return false;
      }
    }
    return true;
  };
  return memory.taken === before.taken && same(memory.counts, before.counts) && same(memory.words, before.words);
}

/** The first difference between what a walk finds and the model. */
function differs(format: Format, found: Found, state: State): string | undefined {
  for (let i = 0; i < Math.max(found.entries.length, state.length); i++) {
    const actual = i < found.entries.length ? found.entries[i] : undefined;
    const expected = i < state.length ? { ...state[i], ...wordOf(format, state[i]) } : undefined;
    const same =
      actual?.start === expected?.start && actual?.level === expected?.level && actual?.lo === expected?.lo && actual?.hi === expected?.hi;
    if (!same) {
      const show = (entry: { start: number; level: Level; lo: number; hi: number } | undefined): string =>
        entry === undefined ? 'nothing more' : `${hex(entry.start)} level ${entry.level} ${showWords(entry)}`;
      return `the table has ${show(actual)} where ${show(expected)} is due`;
    }
  }
  return undefined;
}

function perform(table: PageTable, command: Command): Outcome<unknown> | undefined {
  switch (command.op) {
    case 'map':
      return performMap(table, command);
    case 'unmap':
      return table.unmap(command.ia, command.size, command.options);
    case 'write-protect':
      return table.writeProtect(command.ia, command.size);
    case 'age':
      return table.age(command.ia, command.size, command.clear);
    case 'make-young':
      return table.makeYoung(command.ia);
    case 'relax':
      return table.relaxPermissions(command.ia, command.add);
    case 'split':
      return table.split(command.ia, command.size, command.toLevel === undefined ? undefined : { toLevel: command.toLevel });
    case 'merge':
      return table.merge(command.ia, command.size);
    case 'annotate':
      return table.annotate(command.ia, command.size, command.type, command.value);
    case 'flush':
      return table.flush(command.ia, command.size);
    case 'lookup':
    case 'query':
      return undefined;
  }
}

/** Mapped at once, or checked first and then committed or called off. */
function performMap(
  table: PageTable,
  { ia, size, output, attributes, options, prepared }: Command & { readonly op: 'map' },
): Outcome<unknown> {
  if (prepared === undefined) {
    return table.map(ia, size, output, attributes, options);
  }
  const outcome = table.prepareMap(ia, size, output, attributes, options);
  if (outcome.kind !== 'done') {
    return outcome;
  }
  if (prepared === 'commit') {
    return outcome.value.commit();
  }
  outcome.value.cancel();
  return DONE;
}

function lookupAgrees(format: Format, table: PageTable, state: State, ia: number): void {
  const out: LookupResult = { kind: ENTRY.zero, level: 3, lo: 0, hi: 0, word: -1, output: 0 };
  const inside = ia < 2 ** format.geometry.iaBits;
  ensure('lookup.inside', table.lookup(ia, out) === inside, `lookup of ${hex(ia)} must be ${String(inside)}`);
  if (!inside) {
    return;
  }
  const entry = state.find((each) => each.start <= ia && ia < endOf(format, each));
  const tables = tablesOf(format, state);
  const { startLevel } = format.geometry;
  const walked = ([3, 2, 1, 0] as Level[]).find(
    (l) => l > startLevel && tables[l + 1].has(Math.floor(ia / spanOf(format, (l - 1) as Level)) * spanOf(format, (l - 1) as Level)),
  );
  const level = entry?.level ?? walked ?? startLevel;
  const word = entry === undefined ? { lo: 0, hi: 0 } : wordOf(format, entry);
  const kind = entry === undefined ? ENTRY.zero : entry.kind === 'leaf' ? ENTRY.leaf : ENTRY.annotated;
  const output = entry?.kind === 'leaf' ? entry.output + (ia - entry.start) : 0;
  const agrees = out.kind === kind && out.level === level && out.lo === word.lo && out.hi === word.hi && out.output === output;
  ensure(
    'lookup.entry',
    agrees,
    () =>
      `lookup of ${hex(ia)} gives kind ${out.kind} level ${out.level} ${showWords(out)} output ${hex(
        out.output,
      )}; due: kind ${kind} level ${level} ${showWords(word)} output ${hex(output)}`,
  );
  const { words } = table.memory;
  ensure(
    'lookup.word',
    words[out.word] === out.lo && words[out.word + 1] === out.hi,
    () => `lookup of ${hex(ia)} names a word that does not hold the entry`,
  );
}

function queryAgrees(format: Format, table: PageTable, state: State, command: Command & { readonly op: 'query' }): void {
  const page = spanOf(format, 3);
  const start = Math.floor(command.ia / page) * page;
  const end = Math.ceil((start + command.size) / page) * page;
  if (end > 2 ** format.geometry.iaBits) {
    return;
  }
  const all = state.filter((each) => each.kind === 'leaf' && meets(format, each, { start, end }));
  const { limit } = command;
  const found = limit === undefined ? table.query(command.ia, command.size) : table.query(command.ia, command.size, limit);
  ensure('query.limit', limit === undefined || found.length <= limit, () => `${commandText(command)} gives ${found.length} ranges`);
  let next = 0;
  for (const range of found) {
    for (let at = range.start; at < range.end; at += spanOf(format, range.level)) {
      const leaf = all.at(next++);
      const agrees =
        leaf?.kind === 'leaf' && leaf.start === at && leaf.level === range.level && leaf.output === range.output + (at - range.start);
      ensure(
        'query.leaves',
        agrees,
        () => `${commandText(command)} has a leaf of level ${range.level} at ${hex(at)} that the table has not`,
      );
      const word = wordOf(format, leaf);
      ensure(
        'query.words',
        at !== range.start || (word.lo === range.lo && word.hi === range.hi),
        () => `${commandText(command)} gives other words at ${hex(at)}`,
      );
    }
  }
  const complete = next === all.length || (limit !== undefined && found.length === limit);
  ensure('query.leaves', complete, () => `${commandText(command)} gives ${next} of ${all.length} leaves`);
}
