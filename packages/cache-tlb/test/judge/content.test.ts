import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Content } from '../../src/judge/content.js';

const ENTRIES = 512;
const write = fc.record({ index: fc.nat(ENTRIES - 1), words: fc.array(fc.nat(2 ** 32 - 1), { minLength: 1, maxLength: 8 }) });

it('a page’s content is what a whole page would hold, and nothing outside of the entries that it names', () => {
  fc.assert(
    fc.property(fc.array(write, { maxLength: 40 }), (writes) => {
      const content = new Content();
      const page = new Uint32Array(2 * ENTRIES);
      for (const { index, words } of writes) {
        const halves = Uint32Array.from(words.flatMap((word) => [word, ~word >>> 0])).subarray(0, 2 * (ENTRIES - index));
        content.write(index, halves);
        page.set(halves, 2 * index);
      }
      for (let i = 0; i < ENTRIES; i++) {
        expect([content.lo(i), content.hi(i)]).toEqual([page[2 * i], page[2 * i + 1]]);
        if (page[2 * i] !== 0) expect(content.from <= i && i < content.end).toBe(true);
      }
    }),
    { numRuns: 100, seed: 4 },
  );
});
