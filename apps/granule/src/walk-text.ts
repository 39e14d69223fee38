import { ENTRY, type ExplainedField } from '@granule/contract';
import { hex, toBigint } from '@granule/geometry/bits';
import {
  type AddressWalk,
  addressPrinter,
  type FaultCause,
  inputName,
  levelPrefix,
  outputName,
  sizeText,
  type StageEnd,
  type StageWalk,
  titleLine,
  type Translated,
  type WalkStep,
} from '@granule/lab';
import { bitsOf, colour, fieldJson, fieldRows } from './output.js';

/** What a descriptor is, in one word. */
function kindOf(step: WalkStep): string {
  switch (step.kind) {
    case ENTRY.zero:
      return 'zero';
    case ENTRY.annotated:
      return step.lo % 2 === 1 ? 'reserved' : 'invalid';
    case ENTRY.leaf:
      return step.level === 3 ? 'page' : 'block';
    case ENTRY.table:
      return 'table';
  }
}

/** Of a leaf its attributes, of a table or an invalid entry what is set besides the address. */
function isWorthALine(step: WalkStep, { name, value }: ExplainedField): boolean {
  if (/^(?:RES|ignored|Valid|Type|OA|NextLevelTable)/.test(name)) {
    return false;
  }
  return value !== 0n || (step.kind === ENTRY.leaf && !/^(?:Software|DBM|nT|FnXS|PBHA|GP|NS|Contiguous)$/.test(name));
}

/** Columns of a sentence. */
const WIDTH = 108;

/** A sentence in lines of at most {@link WIDTH} columns, the later ones further in. */
export function wrapped(text: string, indent: string): readonly string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines[lines.length - 1];
    if (last !== '' && indent.length + last.length + 1 + word.length > WIDTH) {
      lines.push(word);
    } else {
      lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
    }
  }
  return lines;
}

function stepLines(walk: StageWalk, step: WalkStep, nested: boolean, allFields: boolean): readonly string[] {
  const space = outputName(walk.tables);
  const inside = step.through === undefined ? undefined : reached(step.through.end);
  const through = inside === undefined ? '' : ` (PA ${hex(inside.output)})`;
  const names = step.output === undefined ? '' : ` ${hex(step.output)}`;
  const value = colour.bold(hex(toBigint(step.lo, step.hi)));
  const place = `level ${step.level}  ${`[${step.index}]`.padEnd(6)} ${space} ${hex(step.address)}${through}`;
  const head = `  ${place}  ${value}  ${kindOf(step)}${names}`;
  const rows = fieldRows(allFields ? step.fields : step.fields.filter((field) => isWorthALine(step, field)), '          ');
  const shown = step.through !== undefined && (nested || step.through.end.kind === 'fault');
  return [head, ...(shown ? innerLines(step.through) : []), ...rows];
}

/** Stage 2 of a stage-1 descriptor. */
function innerLines(walk: StageWalk): readonly string[] {
  const head = `stage 2: ${walk.tables.name}, where the descriptor at ${inputName(walk.tables)} ${hex(walk.address)} is`;
  return [head, ...walkSteps(walk, false, false)].map((line) => `      ${line}`);
}

/** Where the tables lead, whether the access gets there or not. */
function reached(end: StageEnd): Translated | undefined {
  return end.kind === 'translated' ? end : end.kind === 'fault' ? end.past : undefined;
}

function leadsTo(walk: StageWalk, { output, leaf }: Translated): string {
  const old = leaf.accessed || !walk.tables.hardwareAccessFlag ? [] : ['(AF = 0: hardware sets it)'];
  const what = [leaf.permissions, leaf.type, ...leaf.attributes, ...old].join(' ');
  const input = `${inputName(walk.tables)} ${addressPrinter(walk.tables)(walk.address)}`;
  return `  ${input} ${colour.bold(`-> ${outputName(walk.tables)} ${hex(output)}`)}  ${what}`;
}

function endLines(walk: StageWalk): readonly string[] {
  const { end } = walk;
  const past = reached(end);
  const sentence = end.kind === 'translated' ? [] : wrapped(end.sentence, '  ').map((line) => `  ${colour.red(line)}`);
  return [...sentence, ...(past === undefined ? [] : [leadsTo(walk, past)])];
}

function walkSteps(walk: StageWalk, nested: boolean, allFields: boolean): readonly string[] {
  const unread = walk.unread === undefined ? [] : innerLines(walk.unread);
  return [...walk.steps.flatMap((step) => stepLines(walk, step, nested, allFields)), ...unread, ...endLines(walk)];
}

/** The walk of one stage, under its title. */
export function stageLines(walk: StageWalk, nested: boolean, allFields: boolean): readonly string[] {
  const title = wrapped(`stage ${walk.tables.format.stage}: ${titleLine(walk.tables)}`, '  ');
  return [title.join('\n  '), ...walkSteps(walk, nested, allFields)];
}

type Row = readonly [name: string, text: string];

/** `name  text`, texts in one column. */
function rowLines(rows: readonly Row[]): readonly string[] {
  const indent = ' '.repeat(15);
  return rows.map(([name, text]) => `  ${name.padEnd(13)}${wrapped(text, indent).join(`\n${indent}`)}`);
}

/** The descriptor, the field, the clause and the codes of a fault. */
function causeRows({ descriptor, field, registers, clause, statusCode, par }: FaultCause): readonly Row[] {
  const at = descriptor && `${hex(toBigint(descriptor.lo, descriptor.hi))} at PA ${hex(descriptor.physical)}`;
  return [
    ...(descriptor && at ? [['descriptor', `${at}, stage ${descriptor.stage}, level ${descriptor.level}`] as const] : []),
    ...(field ? [['field', `${field.name} (bit${field.msb === field.lsb ? '' : 's'} ${bitsOf(field)}) = ${hex(field.value, 1)}: ${field.meaning}`] as const] : []),
    ...(registers === undefined ? [] : [['registers', registers] as const]),
    ['clause', clause],
    ['status', `FSC ${hex(statusCode, 2)}, PAR ${hex(par)}`],
  ];
}

function accessText({ access, stages }: AddressWalk): string {
  const first = stages.at(0);
  return `${access.type} at ${levelPrefix(first?.tables.format.regime ?? '')}${access.el}`;
}

function resultRows(walk: AddressWalk): readonly Row[] {
  const { result, updates, end } = walk;
  const writes = updates.map(({ stage, level, address, from, to }): Row => {
    return ['hardware', `sets ${hex(from)} to ${hex(to)} at PA ${hex(address)}, stage ${stage}, level ${level}`];
  });
  if (result === undefined) {
    return writes;
  }
  const both = walk.stages.length > 1 ? ', both stages combined' : '';
  const memory = result.mair === undefined ? result.memory : `${result.memory} (${hex(result.mair, 2)}), ${result.shareability}`;
  const par = result.par === undefined || end.kind === 'fault' ? '' : `, PAR ${hex(result.par)}`;
  return [['permissions', `${result.permissions}${both}`], ['memory', memory], ['holds for', `${sizeText(result.size)} around it${par}`], ...writes];
}

/** The whole: where it is, or what keeps the access from it. */
function summaryLines(walk: AddressWalk): readonly string[] {
  const { end, address } = walk;
  switch (end.kind) {
    case 'translated':
      return [`${hex(address)} is at PA ${hex(end.output)}`, ...rowLines([['access', accessText(walk)], ...resultRows(walk)])];
    case 'lost':
      return [`${hex(address)} is lost`, ...rowLines([['why', end.sentence]])];
    case 'fault': {
      const past: readonly Row[] = end.past ? [['behind it', `PA ${hex(end.past.output)}, where the tables lead once AF is set`]] : [];
      const rows: readonly Row[] = [['access', accessText(walk)], ['fault', end.sentence], ...causeRows(end.cause), ...past];
      return [`${hex(address)} ${colour.red('faults')}`, ...rowLines([...rows, ...resultRows(walk)])];
    }
  }
}

/** A walk as people read it. `nested`: also the stage-2 walk for each stage-1 descriptor. */
export function walkLines(walk: AddressWalk, options: { readonly nested?: boolean; readonly allFields?: boolean } = {}): readonly string[] {
  const { nested = false, allFields = false } = options;
  return [...walk.stages.flatMap((stage) => stageLines(stage, nested, allFields)), ...summaryLines(walk)];
}

function translatedJson({ output, level, leaf }: Translated): Record<string, unknown> {
  const { permissions, type, attributes, accessed } = leaf;
  return { output: hex(output), level, permissions, type, attributes, accessFlag: accessed };
}

function causeJson({ descriptor, field, registers, clause, statusCode, par }: FaultCause): Record<string, unknown> {
  return {
    ...(descriptor && {
      descriptor: {
        stage: descriptor.stage,
        level: descriptor.level,
        address: hex(descriptor.physical),
        value: hex(toBigint(descriptor.lo, descriptor.hi)),
      },
    }),
    ...(field && { field: (fieldJson([field]) as readonly unknown[])[0] }),
    ...(registers !== undefined && { registers }),
    clause,
    statusCode: hex(statusCode, 2),
    par: hex(par),
  };
}

function endJson(end: StageEnd): Record<string, unknown> {
  if (end.kind === 'translated') {
    return { outcome: 'translated', ...translatedJson(end) };
  }
  if (end.kind === 'lost') {
    return { outcome: 'lost', sentence: end.sentence };
  }
  const { type, level, stage, s1ptw, ipa } = end.fault;
  return {
    outcome: 'fault',
    fault: { type, level, stage, s1ptw, ...(ipa === undefined ? {} : { ipa: hex(ipa) }), ...causeJson(end.cause) },
    sentence: end.sentence,
    ...(end.past && translatedJson(end.past)),
  };
}

export function stageJson({ tables, address, steps, unread, end }: StageWalk): unknown {
  return {
    regime: tables.name,
    stage: tables.format.stage,
    from: tables.from,
    input: addressPrinter(tables)(address),
    steps: steps.map((step) => ({
      level: step.level,
      index: step.index,
      address: hex(step.address),
      descriptor: hex(toBigint(step.lo, step.hi)),
      kind: kindOf(step),
      ...(step.output === undefined ? {} : { output: hex(step.output) }),
      fields: fieldJson(step.fields),
      ...(step.through === undefined ? {} : { through: stageJson(step.through) }),
    })),
    ...(unread === undefined ? {} : { unread: stageJson(unread) }),
    ...endJson(end),
  };
}

function resultJson({ result, updates }: AddressWalk): Record<string, unknown> {
  const writes = updates.map(({ stage, level, address, from, to }) => ({ stage, level, address: hex(address), from: hex(from), to: hex(to) }));
  if (result === undefined) {
    return { updates: writes };
  }
  const { permissions, mair, memory, shareability, size, par } = result;
  const words = { ...(mair !== undefined && { mair: hex(mair, 2) }), ...(par !== undefined && { par: hex(par) }) };
  return { result: { permissions, memory, shareability, size, ...words }, updates: writes };
}

/** `granule-walk/1`. */
export function walkJson(walk: AddressWalk): unknown {
  return {
    schema: 'granule-walk/1',
    regime: walk.regime,
    address: hex(walk.address),
    access: walk.access,
    stages: walk.stages.map(stageJson),
    ...endJson(walk.end),
    ...resultJson(walk),
  };
}
