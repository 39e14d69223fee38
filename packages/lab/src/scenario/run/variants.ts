import type { Scenario, Variant } from '../scenario.js';

const SECTIONS = ['machine', 'host', 'vm', 'hyp'] as const;

/** A variant as a scenario of its own. */
export function variantOf(scenario: Scenario, variant: Variant | undefined): Scenario {
  if (variant === undefined) {
    return scenario;
  }
  const merged = Object.fromEntries(SECTIONS.flatMap((name) => {
    const own = variant[name];
    return own === undefined ? [] : [[name, { ...scenario[name], ...own }]];
  }));
  const { memory, slots, expect } = variant;
  return { ...scenario, ...merged, ...(memory && { memory }), ...(slots && { slots }), ...(expect && { expect }) };
}

/** What it sets otherwise: `invalidation: vm-wide`. */
export function settingsOf(variant: Variant | undefined): Readonly<Record<string, string>> {
  const settings: Record<string, string> = {};
  for (const name of SECTIONS) {
    for (const [field, value] of Object.entries(variant?.[name] ?? {})) {
      if (field === 'features') {
        Object.entries(value as object).forEach(([feature, on]) => (settings[feature] = String(on)));
      } else {
        settings[field] = typeof value === 'object' ? JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? `0x${each.toString(16)}` : each)) : String(value);
      }
    }
  }
  if (variant?.memory !== undefined) {
    settings['memory'] = variant.memory.map(({ kind = 'anonymous', page }) => `${kind}${page === undefined ? '' : ` by ${page}`}`).join(', ');
  }
  return settings;
}
