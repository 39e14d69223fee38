import { armv8 } from '@granule/armv8';
import type { NamedRegime } from '@granule/snapshot';
import { describe, expect, it } from 'vitest';
import { architectureOf, openImage, parseFilter, parseRange } from '../src/index.js';
import { HandmadeMemory, openBytes, ROOT, STAGE2, valueOf } from './support.js';

const memory = new HandmadeMemory();

describe('the architecture of an image', () => {
  it('is ARMv7 where TTBCR stands without a TCR_EL1 in force', () => {
    expect(architectureOf({ TTBCR: 0x8000_0000n, TTBR0: 0n, TTBR0_EL1: 0x4000_4000n })).toBe('armv7-lpae');
    expect(architectureOf({ TTBCR: 0x8000_0000n, TCR_EL1: 0n })).toBe('armv7-lpae');
  });

  it('is what the CPU model says where both are listed', () => {
    const both = { TTBCR: 0x8000_0000n, TCR_EL1: 0x8000_0000n };
    expect(architectureOf(both, 'cortex-a15')).toBe('armv7-lpae');
    expect(architectureOf(both, 'cortex-a76')).toBe('armv8');
    expect(architectureOf({ ...both, TCR_EL1: 0n }, 'max,lpa2=off')).toBe('armv8');
  });

  it('is ARMv8 where TCR_EL1 is in force, and where nothing is said', () => {
    expect(architectureOf({ TTBCR: 0n, TCR_EL1: 0x19n })).toBe('armv8');
    expect(architectureOf({})).toBe('armv8');
  });

  it('that has no backend answers not-modelled in words', () => {
    const answer = openImage({ memory, registers: { TTBCR: 0x8000_0000n }, backends: { armv8 } });
    expect(answer.kind).toBe('not-modelled');
    expect(answer.kind !== 'done' && answer.sentence).toContain('ARMv7');
  });

  it('can be overridden, and an unknown one is refused', () => {
    expect(openImage({ memory, registers: { TTBCR: 1n }, backends: { armv8 }, arch: 'armv8' }).kind).toBe('done');
    expect(openImage({ memory, registers: {}, backends: { armv8 }, arch: 'mips' })).toMatchObject({
      kind: 'refused',
      id: 'image.unknown-architecture',
    });
  });
});

describe('a regime that a file names', () => {
  const good: NamedRegime = {
    name: 'stage2-x',
    stage: 2,
    root: ROOT,
    granuleShift: 12,
    iaBits: 40,
    startLevel: 1,
    rootEntries: 1024,
    descriptorFormat: 'd64',
    upperRange: false,
    tableAddresses: 'physical',
  };
  const answer = (change: Partial<NamedRegime>) =>
    openBytes(memory, { registers: STAGE2, regimes: [{ ...good, ...change }] }).tables('stage2-x');

  it('has the format of its geometry', () => {
    const [{ format, from }] = valueOf(answer({ note: 'stage 2 of a VM' }));
    expect(format.geometry).toMatchObject({ granule: '4K', iaBits: 40, startLevel: 1, entryTables: 2 });
    expect(from).toBe('stage 2 of a VM');
  });

  it.each<[string, Partial<NamedRegime>, RegExp]>([
    ['too few root entries', { rootEntries: 512 }, /rootEntries is 512, but 1024 follows/],
    ['a start level that cannot hold the input size', { startLevel: 3 }, /stage2-x/],
    ['a granule that is none', { granuleShift: 13 }, /granuleShift 13 is not 12, 14 or 16/],
    ['a root that is not aligned to the concatenated tables', { root: ROOT + 0x1000 }, /not a multiple of the entry table's 8192 bytes/],
    ['addresses of a regime that is not there', { tableAddresses: { ipaOf: 'elsewhere' } }, /no regime elsewhere/],
    ['addresses of itself', { tableAddresses: { ipaOf: 'stage2-x' } }, /at addresses of itself/],
  ])('with %s is refused in a sentence', (_, change, sentence) => {
    const refusal = answer(change);
    expect(refusal.kind).toBe('refused');
    expect(refusal.kind !== 'done' && refusal.sentence).toMatch(sentence);
  });

  it('with a stage-1 regime of two ranges to read through is refused', () => {
    const stage1: NamedRegime = { ...good, name: 'el1', stage: 1, iaBits: 39, rootEntries: 512 };
    const regimes = [stage1, { ...good, tableAddresses: { ipaOf: 'el1' } }];
    expect(openBytes(memory, { registers: STAGE2, regimes }).tables('stage2-x')).toMatchObject({ kind: 'refused', id: 'image.bad-regime' });
  });

  it('that nobody lists is refused with the names that there are', () => {
    const refusal = openBytes(memory, { registers: STAGE2, regimes: [good] }).tables('shadow');
    expect(refusal.kind !== 'done' && refusal.sentence).toBe('The image has no regime shadow; it has el10, el20, el2, s2, stage2-x.');
  });
});

describe('what people type', () => {
  it('ranges are START-END or START+LENGTH, half-open', () => {
    expect(valueOf(parseRange('0x1000-0x2_000'))).toEqual({ start: 0x1000n, end: 0x2000n });
    expect(valueOf(parseRange('0xffffffff80000000+2M'))).toEqual({ start: 0xffff_ffff_8000_0000n, end: 0xffff_ffff_8020_0000n });
  });

  it.each(['', '5', '1-', '0x-0x1', '1-2-3', 'a-b'])('the range %j is refused', (text) => {
    expect(parseRange(text)).toMatchObject({ kind: 'refused', id: 'range.syntax' });
  });

  it('an empty range is refused', () => {
    expect(parseRange('0x2000-0x1000')).toMatchObject({ id: 'range.empty' });
  });

  it('an unknown filter is refused with those that there are', () => {
    const refusal = parseFilter('wx,fast');
    expect(refusal.kind !== 'done' && refusal.sentence).toBe('The filter fast is not one of wx, ro, rw, r, w, x, user, dev, mem, old.');
  });
});
