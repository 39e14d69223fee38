import { ENTRY, type ExplainedField } from '@granule/contract';
import { hex, toBigint } from '@granule/geometry/bits';
import {
  type AddressWalk,
  addressPrinter,
  inputName,
  outputName,
  type StageEnd,
  type StageWalk,
  titleLine,
  type WalkStep,
} from '@granule/lab';
import { colour, fieldJson, fieldRows } from './output.js';

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

function stepLines(walk: StageWalk, step: WalkStep, nested: boolean, allFields: boolean): readonly string[] {
  const space = outputName(walk.tables);
  const through = step.through?.end.kind === 'translated' ? ` (PA ${hex(step.through.end.output)})` : '';
  const names = step.output === undefined ? '' : ` at ${hex(step.output)}`;
  const value = colour.bold(hex(toBigint(step.lo, step.hi)));
  const place = `level ${step.level}  ${`[${step.index}]`.padEnd(6)} ${space} ${hex(step.address)}${through}`;
  const head = `  ${place}  ${value}  ${kindOf(step)}${names}`;
  const rows = fieldRows(allFields ? step.fields : step.fields.filter((field) => isWorthALine(step, field)), '          ');
  const inner = nested && step.through !== undefined ? stageLines(step.through, false, false).map((line) => `      ${line}`) : [];
  return [head, ...inner, ...rows];
}

function endLine(walk: StageWalk): string {
  const { end, tables } = walk;
  if (end.kind !== 'translated') {
    return `  ${colour.red(end.sentence)}`;
  }
  const { leaf } = end;
  const old = leaf.accessed
    ? []
    : [tables.hardwareAccessFlag ? '(AF = 0: hardware sets it at the first access)' : '(AF = 0: an access faults)'];
  const what = [leaf.permissions, leaf.type, ...leaf.attributes, ...old].join(' ');
  const input = `${inputName(tables)} ${addressPrinter(tables)(walk.address)}`;
  return `  ${input} ${colour.bold(`-> ${outputName(tables)} ${hex(end.output)}`)}  ${what}`;
}

function stageLines(walk: StageWalk, nested: boolean, allFields: boolean): readonly string[] {
  return [
    `stage ${walk.tables.format.stage}: ${titleLine(walk.tables)}`,
    ...walk.steps.flatMap((step) => stepLines(walk, step, nested, allFields)),
    endLine(walk),
  ];
}

/** A walk as people read it. `nested`: also the stage-2 walk for each stage-1 descriptor. */
export function walkLines(walk: AddressWalk, options: { readonly nested?: boolean; readonly allFields?: boolean } = {}): readonly string[] {
  const { nested = false, allFields = false } = options;
  const stages = walk.stages.flatMap((stage) => stageLines(stage, nested, allFields));
  const end =
    walk.end.kind === 'translated' ? `${hex(walk.address)} is at PA ${hex(walk.end.output)}` : `${hex(walk.address)}: ${walk.end.sentence}`;
  return [...stages, end];
}

function endJson(end: StageEnd): Record<string, unknown> {
  if (end.kind === 'translated') {
    const { permissions, type, attributes, accessed } = end.leaf;
    return { outcome: 'translated', output: hex(end.output), level: end.level, permissions, type, attributes, accessFlag: accessed };
  }
  if (end.kind === 'lost') {
    return { outcome: 'lost', sentence: end.sentence };
  }
  const { type, level, stage, s1ptw, ipa } = end.fault;
  return {
    outcome: 'fault',
    fault: { type, level, stage, s1ptw, ...(ipa === undefined ? {} : { ipa: hex(ipa) }) },
    sentence: end.sentence,
  };
}

function stageJson({ tables, address, steps, end }: StageWalk): unknown {
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
    ...endJson(end),
  };
}

/** `granule-walk/1`. */
export function walkJson(walk: AddressWalk): unknown {
  return {
    schema: 'granule-walk/1',
    regime: walk.regime,
    address: hex(walk.address),
    stages: walk.stages.map(stageJson),
    ...endJson(walk.end),
  };
}
