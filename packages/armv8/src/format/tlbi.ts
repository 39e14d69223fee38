import type { DsbDomain, Features, TlbiSequences, TlbiStep } from '@granule/contract';
import type { Regime } from './shape.js';

/** The operations of one regime. */
interface Operations {
  /** One leaf, every PE / this PE. */
  readonly leaf: string;
  readonly leafLocal: string;
  /** Intermediate entries too. */
  readonly table: string;
  readonly range: string;
  readonly all: string;
  /** Stage 2: what must follow an invalidation by IPA, for combined entries. */
  readonly stage1?: string;
  readonly stage1Local?: string;
}

/**
 * Linux: arch/arm64/kvm/hyp/{vhe,nvhe}/tlb.c for stage 2, hyp_unmap_walker for EL2. The VA operations of EL1&0 and of EL2&0 (issued with
 * HCR_EL2.{E2H,TGE} = {1,1}) are those for all ASIDs, because a table does not know its own.
 */
const OPERATIONS: Readonly<Record<Regime, Operations>> = {
  s2: {
    leaf: 'IPAS2E1IS',
    leafLocal: 'IPAS2E1',
    table: 'IPAS2E1IS',
    range: 'RIPAS2E1IS',
    all: 'VMALLS12E1IS',
    stage1: 'VMALLE1IS',
    stage1Local: 'VMALLE1',
  },
  el2: { leaf: 'VALE2IS', leafLocal: 'VALE2', table: 'VAE2IS', range: 'RVALE2IS', all: 'ALLE2IS' },
  el10: { leaf: 'VAALE1IS', leafLocal: 'VAALE1', table: 'VAAE1IS', range: 'RVAALE1IS', all: 'VMALLE1IS' },
  el20: { leaf: 'VAALE1IS', leafLocal: 'VAALE1', table: 'VAAE1IS', range: 'RVAALE1IS', all: 'VMALLE1IS' },
};

type Tlbi = Extract<TlbiStep, { readonly type: 'tlbi' }>;

const dsb = (domain: DsbDomain): TlbiStep => ({ type: 'dsb', domain });

/** Make the table change visible, invalidate, wait, invalidate stage 1 where it is stage 2 that changed, wait, synchronise this PE. */
function sequence(op: string, takes: Tlbi['takes'], stage1: string | undefined, local: boolean): readonly TlbiStep[] {
  const before = dsb(local ? 'nshst' : 'ishst');
  const wait = dsb(local ? 'nsh' : 'ish');
  const steps: TlbiStep[] = [before, { type: 'tlbi', op, takes }, wait];
  if (stage1 !== undefined) steps.push({ type: 'tlbi', op: stage1, takes: 'nothing' }, wait);
  return [...steps, { type: 'isb' }];
}

/** What a change of a table of this regime owes. The level hint needs FEAT_TTL, the range form FEAT_TLBIRANGE. */
export function tlbiSequences(regime: Regime, features: Partial<Features>): TlbiSequences {
  const ops = OPERATIONS[regime];
  const all = sequence(ops.all, 'nothing', undefined, false);
  return {
    leaf: sequence(ops.leaf, features.ttl === true ? 'address-and-level' : 'address', ops.stage1, false),
    leafLocal: sequence(ops.leafLocal, 'address', ops.stage1Local, true),
    table: sequence(ops.table, 'address', ops.stage1, false),
    range: features.tlbirange === true ? sequence(ops.range, 'range', ops.stage1, false) : all,
    all,
  };
}
