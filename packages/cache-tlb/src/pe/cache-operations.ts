import type { CmoEffect } from '@granule/contract';
import { decodeSetWay } from '../cache/geometry.js';
import type { CacheHierarchy } from '../cache/hierarchy.js';
import {
  invalidateInstructionLine,
  invalidateInstructions,
  maintainData,
  maintainSetWay,
  type DataByAddress,
  type DataBySetWay,
} from '../cache/maintenance.js';
import type { CachePolicy } from '../cache/policy.js';
import type { Machine } from './machine.js';

/** Operations by address as effects name them. */
export const BY_ADDRESS: Readonly<Partial<Record<CmoEffect['op'], DataByAddress | 'IVAU'>>> = {
  'dc-ivac': 'IVAC',
  'dc-cvac': 'CVAC',
  'dc-civac': 'CIVAC',
  'dc-cvau': 'CVAU',
  'ic-ivau': 'IVAU',
};
export const BY_SET_WAY: Readonly<Partial<Record<CmoEffect['op'], DataBySetWay>>> = { 'dc-isw': 'ISW', 'dc-csw': 'CSW', 'dc-cisw': 'CISW' };

export function effectOf(operation: DataByAddress | DataBySetWay | 'IVAU'): Pick<CmoEffect, 'op' | 'to'> {
  if (operation === 'IVAU') return { op: 'ic-ivau', to: 'pou' };
  return { op: `dc-${operation.toLowerCase()}` as CmoEffect['op'], to: operation === 'CVAU' ? 'pou' : 'poc' };
}

/**
 * Cache maintenance that a PE has issued, as the event that will be told next: with a chooser it takes effect when somebody decides so, or a DSB asks for it;
 * else at once.
 */
export class CacheOperations {
  constructor(
    private readonly machine: Machine,
    private readonly pe: number,
  ) {}

  /**
   * DC by address, IC IVAU.
   *
   * @param va where a virtually indexed instruction cache looks
   * @param now it is one of a loop that ends in a DSB of its own
   */
  byAddress(operation: DataByAddress | 'IVAU', va: number, pa: number, policy: CachePolicy, now = false): void {
    const { witness } = this.machine;
    const line = (caches: CacheHierarchy): number => (operation === 'IVAU' ? -1 : pa - (pa % caches.lineBytes));
    this.#issue(line, policy.share === 'non', now, (caches, event) => {
      if (operation === 'IVAU') {
        invalidateInstructionLine(caches, this.pe, va, pa, policy);
        witness?.invalidated(pa, event);
      } else witness?.maintained(pa, event, maintainData(caches, this.pe, operation, pa, policy));
    });
  }

  bySetWay(operation: DataBySetWay, setWay: number, level: number): void {
    const { witness } = this.machine;
    this.#issue(NO_LINE, true, false, (caches, event) => {
      const lost = maintainSetWay(caches, this.pe, operation, setWay, level);
      const lines = [caches.data[this.pe], caches.outer][level];
      if (lines !== undefined) witness?.bySetWay(level + 1, decodeSetWay(setWay, level, lines.shape, caches.lineBytes).set, event, lost);
    });
  }

  /** IC IALLU, IC IALLUIS. */
  instructions(inner: boolean): void {
    const { witness } = this.machine;
    this.#issue(NO_LINE, !inner, false, (caches, event) => {
      invalidateInstructions(caches, this.pe, inner);
      witness?.instructions(event);
    });
  }

  #issue(line: (caches: CacheHierarchy) => number, local: boolean, now: boolean, act: (caches: CacheHierarchy, event: number) => void): void {
    const { caches, choose, cacheOrder, events } = this.machine;
    if (caches === undefined) return;
    if (choose === undefined || now) act(caches, events + 1);
    else cacheOrder.issue(this.pe, line(caches), local, () => act(caches, events + 1));
  }
}

const NO_LINE = (): number => -1;
