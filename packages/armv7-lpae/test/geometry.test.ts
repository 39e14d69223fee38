import { hostLevels, largestIpaForHost, stage2Geometry } from '@granule/geometry';
import { describe, expect, it } from 'vitest';
import { KVM_ARM_STAGE2 } from '../src/index.js';
import { idOf, STAGE2 } from './support.js';

/** A 32-bit host with long descriptors: 4K pages, 32-bit VA. */
const HOST = { granule: '4K', vaBits: 32 } as const;

describe('stage 2 against the levels of a 32-bit host (Linux 4.8 arch/arm: PGTABLE_LEVELS is 3 with LPAE)', () => {
  it('a host has three levels, and no ARMv7 stage 2 has more', () => {
    expect(hostLevels(HOST.granule, HOST.vaBits)).toBe(3);
    expect(Math.max(...STAGE2.map(({ levels }) => levels))).toBe(3);
    expect(KVM_ARM_STAGE2.geometry.levels).toBe(3);
  });

  it('the check passes for every IPA size that VTCR can say, and fails for the first that needs four levels', () => {
    for (const ipaBits of [32, 36, 39, 40]) expect(stage2Geometry({ granule: '4K', ipaBits, host: HOST }).kind).toBe('done');
    expect(largestIpaForHost(HOST)).toBe(43);
    const four = stage2Geometry({ granule: '4K', ipaBits: 44, host: HOST });
    expect(idOf(four)).toBe('geometry.host-levels');
    expect(four.kind === 'refused' && four.sentence).toBe(
      'stage-2 needs 4 levels for a 44-bit IPA with 4K pages; a host with 32-bit VA has 3',
    );
  });
});

describe('stage 2 as VTCR sizes it (DDI 0406C B4.1, VTCR, VTTBR)', () => {
  it('aligns the entry table to 2^x: x is 5 - T0SZ from level 1, 14 - T0SZ from level 2', () => {
    for (const { iaBits, startLevel, entryAlignment, rootEntries } of STAGE2) {
      const t0sz = 32 - iaBits;
      expect(entryAlignment, `T0SZ ${t0sz}, level ${startLevel}`).toBe(2 ** ((startLevel === 1 ? 5 : 14) - t0sz));
      expect(rootEntries * 8).toBe(entryAlignment);
    }
  });

  it('starts at level 1 for 31 to 40 bits, at level 2 for 25 to 34', () => {
    const sizes = (level: number): number[] => STAGE2.filter(({ startLevel }) => startLevel === level).map(({ iaBits }) => iaBits);
    expect(sizes(1)).toEqual([31, 32, 33, 34, 35, 36, 37, 38, 39, 40]);
    expect(sizes(2)).toEqual([25, 26, 27, 28, 29, 30, 31, 32, 33, 34]);
  });
});
