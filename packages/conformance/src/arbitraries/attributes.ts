import fc from 'fast-check';
import type { AttributeRequest, Format, MemoryType, Shareability } from '@granule/contract';

const MEMORY: readonly MemoryType[] = [
  'device-nGnRnE',
  'device-nGnRE',
  'device-nGRE',
  'device-GRE',
  'normal',
  'normal-tagged',
  'normal-nc',
  'normal-wt',
  'normal-nc-wb',
  'normal-wb-nc',
  'as-stage1',
];
const SHAREABILITY: readonly Shareability[] = ['non', 'outer', 'inner'];

const CANDIDATES = {
  attrIndex: fc.integer({ min: 0, max: 15 }),
  memory: fc.constantFrom(...MEMORY),
  read: fc.boolean(),
  write: fc.boolean(),
  px: fc.boolean(),
  ux: fc.boolean(),
  user: fc.boolean(),
  shareability: fc.constantFrom(...SHAREABILITY),
  af: fc.boolean(),
  dbm: fc.boolean(),
  nG: fc.boolean(),
  ns: fc.boolean(),
  gp: fc.boolean(),
  contiguous: fc.boolean(),
  software: fc.integer({ min: 0, max: 15 }),
} as const;

/**
 * Requests that the format itself accepts: candidates are tried one field after the other, and what the format refuses is left out, so
 * that nothing need be known of the regime. Either `memory` or `attrIndex` is named, never both.
 */
export function legalAttributes(format: Format): fc.Arbitrary<AttributeRequest> {
  return fc.record(CANDIDATES, { requiredKeys: [] }).map((candidates) => {
    let request: AttributeRequest = {};
    for (const [name, value] of Object.entries(candidates)) {
      if (name === 'memory' && request.attrIndex !== undefined) {
        continue;
      }
      const next = { ...request, [name]: value };
      if (format.encodeLeaf(next, 3).kind === 'done') {
        request = next;
      }
    }
    if (format.encodeLeaf(request, 3).kind !== 'done') {
      request = { ...request, attrIndex: 0 };
    }
    return request;
  });
}
