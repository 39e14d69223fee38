import { COST_ITEMS } from '../cost/items.js';
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

export function machineText({ backend, kernel, host, features, pes, vcpus, invalidation, maintenance }: MachineReport): string {
  const on = features.length === 0 ? '' : `; ${features.join(', ')}`;
  const size = `${counted(pes, 'PE')}, ${counted(vcpus, 'vCPU')}`;
  return `${backend}, Linux ${kernel}, ${host.granule} host pages, ${host.vaBits}-bit VA${on}; ${size}; invalidation ${invalidation}, maintenance ${maintenance}`;
}

export function fidelityText(variant: Pick<VariantReport, 'fidelity'>): string {
  return FIDELITIES[variant.fidelity];
}

export function geometryText(geometry: GeometryReport): string {
  const { granule, ipaBits, paBits, startLevel, entryTables, entryBytes, entryAlignment, vtcr } = geometry;
  const entry = `${counted(entryTables, 'entry table')}, ${sizeText(entryBytes)} aligned to ${sizeText(entryAlignment)}`;
  return `${granule} granule, ${ipaBits}-bit IPA, ${paBits}-bit PA, start level ${startLevel}, ${entry}, VTCR ${vtcr}`;
}

export function mappingText({ level, type, permissions, leaves, bytes }: MappingCount): string {
  return `level ${level}: ${counted(leaves, level === 3 ? 'page' : 'block')} ${type} ${permissions}, ${sizeText(bytes)}`;
}

/** `at least 30 min`. */
export function costText({ ns, lowerBound }: Pick<CostEstimate, 'ns' | 'lowerBound'>): string {
  return lowerBound ? `at least ${durationText(ns)}` : durationText(ns);
}

/** What an estimate lacks; empty where it lacks nothing. */
export function unknownText({ unknown }: CostEstimate): string {
  return unknown.length === 0 ? '' : `no cost for ${unknown.map(({ item, count }) => `${COST_ITEMS[item]} (${count.toLocaleString('en')})`).join(', ')}`;
}

export function violationLine(violation: ViolationReport): string {
  const { id, address, count, sentence, cause, exposed, source, expected } = violation;
  const more = count === 1 ? '' : ` and ${(count - 1).toLocaleString('en')} more`;
  const event = (name: string, at: typeof cause): string => (at === undefined ? '' : ` ${name}: event ${at.event.toLocaleString('en')} (${at.phase}: ${at.text}).`);
  const wanted = expected ? ' Expected.' : '';
  return `${id} at ${address}${more}: ${sentence}${event('Cause', cause)}${event('Exposed', exposed)} (${source})${wanted}`;
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
    lines.push(`A mix gives it: ${limit}${dearParts} of ${counted(parts, 'part')} by ${dear.name}, the others by ${cheap.name}; no other cost is fitted.`);
  }
  for (const mix of mixes) {
    const excluded = lowerBound && mix.factor !== undefined && mix.factor < 1 ? ', less than the lower bound allows' : '';
    const factor = mix.factor === undefined ? '' : `; it takes ${durationText(measured.ns)} where each costs ${mix.factor} times that${excluded}`;
    lines.push(`${mix.dearParts} of ${parts} by ${dear.name}: ${bound}${durationText(mix.ns)}${factor}.`);
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
