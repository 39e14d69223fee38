import fc from 'fast-check';
import type { AttributeRequest, Attributes, Format, Words } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { outputs } from '../arbitraries/addresses.js';
import { legalAttributes } from '../arbitraries/attributes.js';
import { or, valueOf } from '../words.js';

export interface LeafCase {
  readonly request: AttributeRequest;
  readonly oa: number;
  /** Attribute bits without an address, and with it. */
  readonly bits: Words;
  readonly word: Words;
}

/** Leaves that the format itself builds. */
export function legalLeaves(format: Format, level: Level): fc.Arbitrary<LeafCase> {
  return fc
    .record({ request: legalAttributes(format), oa: outputs(format, levelShift(format.geometry.granule, level)) })
    .map(({ request, oa }) => {
      const bits = valueOf('kind.encode-leaf', format.encodeLeaf(request, level), `encodeLeaf at level ${level}`);
      const address = valueOf('address.encode', format.encodeOutput(oa, format.geometry.pageShift), `encodeOutput of ${oa}`);
      return { request, oa, bits, word: or(bits, address) };
    });
}

/** The names of the fields in which two leaves differ. */
export function differing(a: Attributes, b: Attributes): readonly string[] {
  return (Object.keys(a) as (keyof Attributes)[]).filter((name) => a[name] !== b[name]);
}
