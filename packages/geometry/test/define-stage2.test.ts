import { beforeAll, describe, expect, it } from 'vitest';
import { defineStage2, kvmStage2Levels, hostLevels } from '../src/index.js';
import { complaints, type Complaint } from './compile.js';

/** Every literal that the KVM policy accepts on a host, one call a line, with the sentence that is due or none. */
function everyPair(): readonly { call: string; sentence: string | undefined }[] {
  const hosts = [['4K', 39], ['4K', 48], ['16K', 36], ['16K', 47], ['64K', 42]] as const;
  return hosts.flatMap(([granule, vaBits]) =>
    Array.from({ length: 21 }, (_, i) => {
      const ipaBits = 32 + i;
      const [needs, has] = [kvmStage2Levels(granule, ipaBits), hostLevels(granule, vaBits)];
      return {
        call: `defineStage2({ granule: '${granule}', ipaBits: ${ipaBits}, host: { granule: '${granule}', vaBits: ${vaBits} } });`,
        sentence:
          needs > has
            ? `stage-2 needs ${needs} levels for a ${ipaBits}-bit IPA with ${granule} pages; a host with ${vaBits}-bit VA has ${has}`
            : undefined,
      };
    }),
  );
}

const SENTENCE = 'stage-2 needs 3 levels for a 42-bit IPA with 16K pages; a host with 36-bit VA has 2';

describe('the compiler', () => {
  let messages: readonly Complaint[];
  const pairs = everyPair();
  const host = `host: { granule: '16K', vaBits: 36 }`;
  const extra = [
    `defineStage2({ granule: '16K', ipaBits: 42, hostLevels: 'independent', ${host} });`,
    `defineStage2({ granule: '16K', ipaBits: 40, host: { granule: '4K', vaBits: 48 } });`,
    `defineStage2({ granule: '4K', startLevel: 0, ipaBits: 40, host: { granule: '4K', vaBits: 39 } });`,
  ];

  beforeAll(() => {
    messages = complaints([`import { defineStage2 } from '../src/index.js';`, ...pairs.map(({ call }) => call), ...extra].join('\n'));
  }, 60_000);

  it('says the very sentence, at ipaBits, and says nothing else', () => {
    expect(messages).toContainEqual({ at: 'ipaBits', code: 2322, text: `Type 'number' is not assignable to type '"${SENTENCE}"'.` });
    expect(messages.filter(({ text }) => text.includes('42-bit IPA with 16K pages; a host with 36-bit VA'))).toHaveLength(1);
  });
  it('agrees with the run-time check for every IPA from 32 to 52 bits on five hosts', () => {
    const due = pairs.flatMap(({ sentence }) => (sentence === undefined ? [] : [sentence]));
    const said = messages.slice(0, due.length);
    expect(due).toHaveLength(9 + 12 + 1 + 6);
    expect(said).toEqual(
      due.map((sentence) => ({ at: 'ipaBits', code: 2322, text: `Type 'number' is not assignable to type '"${sentence}"'.` })),
    );
  });
  it('is silent for an independent walker, and complains of other pages at host and of a start level at ipaBits', () => {
    const granules = 'stage-2 with 16K pages cannot borrow the page-table helpers of a host with 4K pages';
    const deep = 'stage-2 needs 4 levels for a 40-bit IPA with 4K pages; a host with 39-bit VA has 3';
    expect(messages.slice(28).map(({ at, text }) => [at, text.split('\n')[0]])).toEqual([
      ['host', `Type '{ granule: string; vaBits: number; }' is not assignable to type '"${granules}"'.`],
      ['ipaBits', `Type 'number' is not assignable to type '"${deep}"'.`],
    ]);
  });
});

describe('at run time defineStage2', () => {
  it('answers as stage2Geometry: a table, or the sentence that the compiler says', () => {
    const host = { granule: '16K', vaBits: 36 } as const;
    const [fits, deep]: readonly number[] = [40, 42];
    expect(defineStage2({ granule: '16K', ipaBits: 40, host })).toMatchObject({ kind: 'done', value: { levels: 2 } });
    expect(defineStage2({ granule: '16K', ipaBits: fits, host })).toMatchObject({ kind: 'done', value: { levels: 2 } });
    expect(defineStage2({ granule: '16K', ipaBits: deep, host })).toMatchObject({
      kind: 'refused',
      id: 'geometry.host-levels',
      sentence: SENTENCE,
    });
    expect(defineStage2({ granule: '16K', ipaBits: 42, host, hostLevels: 'independent' })).toMatchObject({
      kind: 'done',
      value: { levels: 3 },
    });
  });
});
