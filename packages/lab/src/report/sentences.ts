import { COST_ITEMS, type CostItem } from '../cost/items.js';
import { durationText } from '../cost/duration.js';
import type { CostEstimate } from '../cost/estimate.js';
import { counted, sizeText } from '../dump/summary.js';
import type { ExpectationReport, GeometryReport, MachineReport, MappingCount, RunReport, VariantReport, ViolationReport } from './report.js';

/** The sentences of a report, which its text and its page share. */

const FIDELITIES: Readonly<Record<VariantReport['fidelity'], string>> = {
  policy: 'the policy alone, its effects counted',
  judged: 'the policy, its effects counted and judged',
  machine: 'guests on a machine with TLBs, effects counted and judged',
};

function machineText({ backend, kernel, host, pes, vcpus }: MachineReport): string {
  return `${backend}, Linux ${kernel}, ${host.granule} host pages, ${host.vaBits}-bit VA; ${counted(pes, 'PE')}, ${counted(vcpus, 'vCPU')}`;
}

function mappedText({ mappings }: VariantReport): string {
  return mappings.length === 0 ? 'nothing' : mappings.map(mappingText).join('; ');
}

/** What a variant runs on and comes to, by name. */
const DESCRIPTIONS: readonly (readonly [name: string, text: (variant: VariantReport) => string])[] = [
  ['machine', ({ machine }) => machineText(machine)],
  ['features', ({ machine }) => (machine.features.length === 0 ? 'none' : machine.features.join(', '))],
  ['policy', ({ machine }) => `invalidation ${machine.invalidation}, maintenance ${machine.maintenance}`],
  ['stage 2', ({ geometry }) => geometryText(geometry)],
  ['runs', ({ fidelity }) => FIDELITIES[fidelity]],
  ['mapped', mappedText],
];

/** Each description with the texts that it has: said once where all variants share it, else with the names of those it is true of. */
export function descriptions(variants: readonly VariantReport[]): readonly { readonly name: string; readonly texts: readonly string[] }[] {
  return DESCRIPTIONS.map(([name, text]) => {
    const groups = new Map<string, string[]>();
    variants.forEach((variant) => groups.set(text(variant), [...(groups.get(text(variant)) ?? []), variant.name]));
    const sorted = [...groups].sort(([, a], [, b]) => a.length - b.length);
    const others = sorted.length > 1 && sorted[sorted.length - 1][1].length > 1 ? sorted.length - 1 : -1;
    return { name, texts: sorted.map(([said, names], i) => (groups.size === 1 ? said : `${said}: ${i === others ? 'the others' : names.join(', ')}`)) };
  });
}

function geometryText(geometry: GeometryReport): string {
  const { granule, ipaBits, paBits, startLevel, entryTables, entryBytes, entryAlignment, vtcr } = geometry;
  const entry = `${counted(entryTables, 'entry table')}, ${sizeText(entryBytes)} aligned to ${sizeText(entryAlignment)}`;
  return `${granule} granule, ${ipaBits}-bit IPA, ${paBits}-bit PA, start level ${startLevel}, ${entry}, VTCR ${vtcr}`;
}

function mappingText({ level, type, permissions, leaves, bytes }: MappingCount): string {
  return `level ${level}: ${counted(leaves, level === 3 ? 'page' : 'block')} ${type} ${permissions}, ${sizeText(bytes)}`;
}

/** `at least 30 min`; of something that has no cost at all, `not known`. */
export function costText({ ns, lowerBound }: Pick<CostEstimate, 'ns' | 'lowerBound'>): string {
  return !lowerBound ? durationText(ns) : ns === 0 ? 'not known' : `at least ${durationText(ns)}`;
}

/** What the estimates of one profile lack, with the variants that have it where it is not all of them; undefined where they lack nothing. */
export function unknownText(variants: readonly VariantReport[], profile: number): string | undefined {
  const lacking = new Map<CostItem, string[]>();
  for (const { name, costs } of variants) {
    costs[profile].unknown.forEach(({ item }) => lacking.set(item, [...(lacking.get(item) ?? []), name]));
  }
  const items = [...lacking].sort(([, a], [, b]) => b.length - a.length);
  const texts = items.map(([item, names]) => COST_ITEMS[item] + (names.length === variants.length ? '' : ` (${names.join(', ')})`));
  return texts.length === 0 ? undefined : `no cost for ${texts.join(', ')}`;
}

function violationLine(violation: ViolationReport): string {
  const { id, address, count, sentence, cause, exposed, source, expected } = violation;
  const more = count === 1 ? '' : ` and ${(count - 1).toLocaleString('en')} more`;
  const event = (name: string, at: typeof cause): string => (at === undefined ? '' : ` ${name}: event ${at.event.toLocaleString('en')} (${at.phase}: ${at.text}).`);
  const wanted = expected ? ' Expected.' : '';
  return `${id} at ${address}${more}: ${sentence}${event('Cause', cause)}${event('Exposed', exposed)} (${source})${wanted}`;
}

/** What guests read that was not what they should have. */
export function wrongReads({ reads }: VariantReport): readonly string[] {
  const wrong = reads.filter(({ value, expected }) => expected !== undefined && value !== expected);
  return wrong.map(({ phase, vcpu, address, value, expected = '' }) => `${phase}: vCPU ${vcpu} read ${value} at ${address}, expected ${expected}`);
}

/** The first violation of each rule in full, and how many more there are of it. */
export function violationLines(violations: readonly ViolationReport[]): readonly { readonly text: string; readonly expected: boolean }[] {
  const byRule = new Map<string, ViolationReport[]>();
  violations.forEach((each) => byRule.set(each.id, [...(byRule.get(each.id) ?? []), each]));
  return [...byRule].flatMap(([id, [first, ...rest]]) => {
    const { expected } = first;
    return [{ text: violationLine(first), expected }, ...(rest.length === 0 ? [] : [{ text: `${id}: ${rest.length.toLocaleString('en')} more like it`, expected }])];
  });
}

export function expectationLine({ phase, what, expected, actual, source }: ExpectationReport): string {
  return `${phase === undefined ? '' : `${phase}: `}${what}: ${actual}, expected ${expected}${source === undefined ? '' : ` (${source})`}`;
}

/** What a bracket says, one sentence a line. */
export function bracketLines(found: RunReport['brackets'][number]): readonly string[] {
  const { profile, phase, measured, cheap, dear, inside, lowerBound, parts, dearParts, mixes } = found;
  const bound = lowerBound ? 'at least ' : '';
  const ends = `${cheap.name} (${bound}${durationText(cheap.ns)}) and ${dear.name} (${bound}${durationText(dear.ns)})`;
  const what = `${durationText(measured.ns)} measured${phase === undefined ? '' : ` for ${phase}`} (${measured.source})`;
  if (!inside) {
    return [`${what}: not between ${ends} at the costs of ${profile}.`];
  }
  const lines = [`${what}: between ${ends} at the costs of ${profile}.`];
  if (dearParts !== undefined) {
    const limit = lowerBound ? 'at most ' : '';
    lines.push(`A mix gives it: ${limit}${dearParts} of ${counted(parts, 'part')} under ${dear.name}, the others under ${cheap.name}; no other cost is fitted.`);
  }
  for (const mix of mixes) {
    const excluded = lowerBound && mix.factor !== undefined && mix.factor < 1 ? ', less than the lower bound allows' : '';
    const factor = mix.factor === undefined ? '' : `; it takes ${durationText(measured.ns)} where each costs ${mix.factor} times that${excluded}`;
    lines.push(`${mix.dearParts} of ${parts} under ${dear.name}: ${bound}${durationText(mix.ns)}${factor}.`);
  }
  return lines;
}

/** The last line. */
export function verdictLine({ variants, totals, clean }: RunReport): string {
  const { expectations, violations } = totals;
  const runs = variants.length === 1 ? '' : `${counted(variants.length, 'variant')}, `;
  const kept = `${expectations.passed.toLocaleString('en')} of ${counted(expectations.total, 'expectation')}`;
  const broken = violations === 0 ? 'no violation' : counted(violations, clean ? 'expected violation' : 'violation');
  const stopped = variants.filter((variant) => variant.stopped !== undefined);
  const early = stopped.length === 0 ? '' : `, stopped early: ${stopped.map(({ name }) => name).join(', ')}`;
  return `${clean ? 'clean' : 'not clean'}: ${runs}${kept}, ${broken}${early}`;
}
