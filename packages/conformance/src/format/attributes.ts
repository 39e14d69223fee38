import { levelIndex, type AttributeRequest, type Attributes, type Format, type TableAttributes } from '@granule/contract';
import fc from 'fast-check';
import { ensure, forAll } from '../law.js';
import { flip, leafLevels, or, text, valueOf } from '../words.js';
import { differing, legalLeaves } from './leaves.js';
import { refusalForm } from './refusals.js';
import type { FormatLaw } from './suite.js';

function holds(request: AttributeRequest, decoded: Attributes): string | undefined {
  for (const [name, value] of Object.entries(request)) {
    const actual = decoded[name as keyof Attributes];
    if (actual !== value && !(name === 'memory' && actual === 'unknown')) {
      return `${name} was asked to be ${String(value)} and decodes as ${String(actual)}`;
    }
  }
  return undefined;
}

const tableAttributes = fc.record<Partial<TableAttributes>>(
  { nsTable: fc.boolean(), apTable: fc.integer({ min: 0, max: 3 }), uxnTable: fc.boolean(), pxnTable: fc.boolean() },
  { requiredKeys: [] },
);

function tableRoundTrip(format: Format, request: Partial<TableAttributes>): void {
  const outcome = format.encodeTable(request);
  if (outcome.kind !== 'done') {
    refusalForm(outcome, 'attributes');
    return;
  }
  const oa = valueOf(
    'attributes.table-round-trip',
    format.encodeOutput(2 ** format.geometry.pageShift, format.geometry.pageShift),
    'encodeOutput',
  );
  const w = or(outcome.value, oa);
  const decoded = format.decodeTable(w.lo, w.hi);
  for (const [name, value] of Object.entries(request)) {
    ensure(
      'attributes.table-round-trip',
      decoded[name as keyof TableAttributes] === value,
      `${name} was asked to be ${String(value)} and does not decode so`,
    );
  }
}

export const attributeLaws: readonly FormatLaw[] = [
  {
    name: 'attributes.round-trip',
    sentence: 'what encodeLeaf accepts, decodeLeaf reads back',
    check(format, budget) {
      for (const level of leafLevels(format)) {
        forAll(legalLeaves(format, level), budget, ({ request, word }) => {
          const wrong = holds(request, format.decodeLeaf(word.lo, word.hi, level));
          ensure('attributes.round-trip', wrong === undefined, `at level ${level} ${wrong ?? ''}`);
        });
      }
    },
  },
  {
    name: 'attributes.re-encode',
    sentence: 'decoded attributes encode to the same bits',
    check(format, budget) {
      for (const level of leafLevels(format)) {
        forAll(legalLeaves(format, level), budget, ({ bits }) => {
          const again = valueOf(
            'attributes.re-encode',
            format.encodeLeaf(format.decodeLeaf(bits.lo, bits.hi, level), level),
            'encodeLeaf of decoded attributes',
          );
          ensure('attributes.re-encode', text(again) === text(bits), () => `${text(bits)} decodes and encodes to ${text(again)}`);
        });
      }
    },
  },
  {
    name: 'attributes.defaults',
    sentence: 'a request that names nothing gives the defaults',
    check(format) {
      const outcome = format.encodeLeaf({}, 3);
      if (outcome.kind !== 'done') {
        ensure('attributes.defaults', format.stage === 1, 'stage 2 must not refuse a request that names nothing');
        return;
      }
      const decoded = format.decodeLeaf(outcome.value.lo, outcome.value.hi, 3);
      const wrong = differing(decoded, format.defaults).filter((name) => !(name === 'memory' && decoded.memory === 'unknown'));
      ensure('attributes.defaults', wrong.length === 0, () => `${wrong.join(', ')} of an empty request are not the defaults`);
    },
  },
  {
    name: 'attributes.every-level',
    sentence: 'the same request gives the same bits at every level, but for the type',
    check(format, budget) {
      forAll(legalLeaves(format, 3), budget, ({ request, bits }) => {
        for (const level of leafLevels(format)) {
          const there = valueOf('attributes.every-level', format.encodeLeaf(request, level), `encodeLeaf at level ${level}`);
          const type = format.numbers.typeMask[levelIndex(level)] | format.numbers.typeMask[4];
          const other = flip(there, bits);
          ensure(
            'attributes.every-level',
            (other.lo & ~type) === 0 && other.hi === 0,
            () => `${text(bits)} at level 3 is ${text(there)} at level ${level}`,
          );
          ensure(
            'attributes.every-level',
            differing(format.decodeLeaf(there.lo, there.hi, level), format.decodeLeaf(bits.lo, bits.hi, 3)).length === 0,
            `levels 3 and ${level} decode differently`,
          );
        }
      });
    },
  },
  {
    name: 'attributes.table-round-trip',
    sentence: 'what encodeTable accepts, decodeTable reads back',
    check: (format, budget) => forAll(tableAttributes, budget, (request) => tableRoundTrip(format, request)),
  },
];
