import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import type { HostStage2 } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { nestedLayer, nestingSupported, offeredGranules } from '../src/index.js';
import { GUEST, Words } from './support.js';

const ALL = ['4K', '16K', '64K'] as const;

describe('the machine of a guest hypervisor', () => {
  it('has no pages smaller than the host’s', () => {
    expect(offeredGranules('4K', ALL)).toEqual(['4K', '16K', '64K']);
    expect(offeredGranules('16K', ALL)).toEqual(['16K', '64K']);
    expect(offeredGranules('64K', ALL)).toEqual(['64K']);
    expect(offeredGranules('16K', ['4K', '64K'])).toEqual(['64K']);
  });

  it('is none on 32-bit Arm', () => {
    expect(nestingSupported(armv8)).toBeUndefined();
    const opened = nestedLayer().open({ guest: { ...GUEST, backend: armv7Lpae }, memory: new Words(), host: {} as HostStage2 });
    expect(opened).toMatchObject({ kind: 'not-modelled', id: 'nested.not-supported', sentence: 'armv7-lpae has no nested virtualisation: FEAT_NV exists in AArch64 alone.' });
  });
});
