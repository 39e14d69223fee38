import { counted } from '../dump/summary.js';
import type { ChainReport, ContextReport, VariantReport } from './report.js';

/** The shadows of one variant. */
export interface NestedSection {
  readonly head: string;
  /** One for each context that was ever taken. */
  readonly contexts: readonly string[];
  readonly chains: readonly { readonly head: string; readonly lines: readonly string[] }[];
}

function contextText({ context, vmid, table, leaves, references, pendingUnmap }: ContextReport): string {
  const root = table === '' ? 'stage 2 off' : `table ${table}`;
  const held = references === 0 ? 'held by none' : `held by ${counted(references, 'vCPU')}`;
  const owed = pendingUnmap ? ', to be unmapped before the next entry' : '';
  return `shadow ${context}: VMID ${vmid}, ${root}, ${counted(leaves, 'leaf', 'leaves')}, ${held}${owed}`;
}

function chainHead({ phase, vcpu, context, address, standing, why }: ChainReport): string {
  return `${phase === '' ? '' : `${phase}: `}${address} of vCPU ${vcpu}, shadow ${context}: ${standing}. ${why}`;
}

/** What a report says of shadows, one section for each variant that has them. */
export function nestedSections(variants: readonly VariantReport[]): readonly NestedSection[] {
  return variants.flatMap(({ name, nested }) => {
    if (nested === undefined) {
      return [];
    }
    const { key, contexts, chains } = nested;
    return [{
      head: `${variants.length === 1 ? '' : `${name}: `}shadows found by ${key}, ${contexts.filter(({ valid }) => valid).length} of ${contexts.length} in use`,
      contexts: contexts.filter(({ valid }) => valid).map(contextText),
      chains: chains.map((each) => ({ head: chainHead(each), lines: [...each.tables, ...each.history] })),
    }];
  });
}
