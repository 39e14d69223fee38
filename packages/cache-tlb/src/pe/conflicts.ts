import type { TlbEntry, TlbModel, TlbQuery, TlbStage } from '@granule/contract';
import { conflictOf } from '../tlb/match.js';
import type { WalkedEntry } from './entries.js';
import type { Setting } from './setting.js';

/** Whose entries conflict: those of stage 2 by their IPA. */
export type Conflicting = { readonly stage: 1 } | { readonly stage: 2; readonly ipa: number };

/** Finds leaves in a TLB that must not be held together (DDI 0487 D8.17.1). */
export class Conflicts {
  readonly #found: TlbEntry[] = [];
  readonly #query: TlbQuery = { regime: 'el10', stage: 'combined', kind: 'leaf', vmid: 0, asid: -1, address: 0 };

  /** @param bbm FEAT_BBM: from level 2 on, entries may differ in size */
  constructor(
    private readonly tlb: TlbModel,
    private readonly bbm: number,
  ) {}

  /** For a VA, as TLBs count it. */
  at(setting: Setting, address: number, both: boolean): Conflicting | undefined {
    const combined = both ? this.#entries(setting, 'combined', setting.asid, address) : 0;
    if (combined > 0) {
      const entries = this.#found.slice(0, combined) as WalkedEntry[];
      const [{ ipa, input }] = entries;
      return entries.every((each) => sameStage1(each, entries[0])) ? { stage: 2, ipa: ipa + (address - input) } : { stage: 1 };
    }
    return this.#entries(setting, 'stage1', setting.asid, address) > 0 ? { stage: 1 } : undefined;
  }

  /** For an IPA. */
  atIpa(setting: Setting, ipa: number): Conflicting | undefined {
    return this.#entries(setting, 'stage2', -1, ipa) > 0 ? { stage: 2, ipa } : undefined;
  }

  /** How many entries answer, where they conflict; else 0. */
  #entries(setting: Setting, stage: TlbStage, asid: number, address: number): number {
    const query = this.#query;
    query.regime = setting.tlbRegime;
    query.stage = stage;
    query.vmid = setting.vmid;
    query.asid = asid;
    query.address = address;
    const count = this.tlb.matches(query, this.#found);
    if (count < 2) return 0;
    const conflict = conflictOf(this.#found, count);
    return conflict === 'translation' || (conflict === 'size' && this.bbm < 2) ? count : 0;
  }
}

/** Whether both were made of one stage-1 descriptor, so that it is stage 2 in which they differ. */
function sameStage1(a: WalkedEntry, b: WalkedEntry): boolean {
  const [one, other] = [a, b].map(({ fetches }) => fetches.findLast(({ stage }) => stage === 1));
  return one?.pa === other?.pa && one?.lo === other?.lo && one?.hi === other?.hi;
}
