import { TLBI_OPERATIONS } from '@granule/cache-tlb';
import type { CmoEffect, DsbDomain, FaultType } from '@granule/contract';
import type { TlbiReason, TlbiScope } from './counts.js';

const SCOPES: Record<TlbiScope, true> = { 'ipa': true, 'ipa-range': true, 'stage1': true, 'vmid': true, 'all': true, 'va': true, 'va-range': true, 'asid': true };
const REASONS: Record<TlbiReason, true> = { leaf: true, table: true, stage2: true, none: true };
const DOMAINS: Record<DsbDomain, true> = { ish: true, ishst: true, nsh: true, nshst: true, osh: true, oshst: true, sy: true, st: true };
const CMOS: Record<CmoEffect['op'], true> = {
  'dc-cvac': true, 'dc-civac': true, 'dc-ivac': true, 'dc-cvau': true, 'dc-zva': true, 'dc-isw': true, 'dc-csw': true, 'dc-cisw': true, 'ic-ivau': true, 'ic-iallu': true, 'ic-ialluis': true,
};
const FAULTS: Record<FaultType, true> = {
  'translation': true, 'access-flag': true, 'permission': true, 'address-size': true, 'external-abort': true, 'external-abort-on-walk': true, 'alignment': true,
  'tlb-conflict': true, 'unsupported-atomic-update': true,
};

const oneOf = (names: Readonly<Record<string, true>>): string => `(?:${Object.keys(names).join('|')})`;

/** What {@link namedCounts} may call a count. What comes after `answer.`, `trap.` and `call.` is whatever a policy, a backend or Linux names. */
const NAMES: readonly RegExp[] = [
  'writes|accesses|tables\\.(?:taken|freed)|isb|dsb|tlbi|cmo|fault|trap',
  `dsb\\.${oneOf(DOMAINS)}`,
  `tlbi\\.${oneOf(SCOPES)}(?:\\.${oneOf(REASONS)})?|tlbi\\.(?:leaf|table|pe[0-9]+)`,
  `cmo\\.${oneOf(CMOS)}(?:\\.(?:bytes|lines))?`,
  `fault\\.${oneOf(FAULTS)}(?:\\.level-?[0-9])?|fault\\.stage[12]`,
  '(?:answer|trap|call)\\.[\\w.-]+',
].map((each) => new RegExp(`^(?:${each})$`));

export function isCountName(name: string): boolean {
  return NAMES.some((each) => each.test(name)) || (name.startsWith('tlbi.') && TLBI_OPERATIONS.has(name.slice('tlbi.'.length)));
}
