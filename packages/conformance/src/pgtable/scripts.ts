import type { AttributeRequest, Format } from '@granule/contract';
import { levelIndex } from '@granule/contract';
import { outputBits } from '../arbitraries/addresses.js';
import type { Command } from './commands.js';
import { spanOf } from './state.js';

interface Script {
  readonly name: string;
  readonly commands: readonly Command[];
}

interface Ground {
  readonly page: number;
  readonly block: number;
  readonly limit: number;
  /** Bytes that an output address must stay below. */
  readonly outputs: number;
  readonly plain: AttributeRequest;
  readonly other: AttributeRequest;
}

const accepted = (format: Format, request: AttributeRequest): AttributeRequest =>
  format.encodeLeaf(request, 3).kind === 'done' ? request : { ...request, attrIndex: 0 };

function groundOf(format: Format): Ground {
  const page = spanOf(format, 3);
  const level = format.geometry.startLevel < 2 || format.numbers.leafType[levelIndex(2)] !== -1 ? 2 : 3;
  return {
    page,
    block: spanOf(format, level),
    limit: 2 ** format.geometry.iaBits,
    outputs: 2 ** outputBits(format),
    plain: accepted(format, {}),
    other: accepted(format, { write: false, software: 1 }),
  };
}

const blocks = ({ page, block, plain, other }: Ground): readonly Script[] => [
  {
    name: 'a block is mapped, a page unmapped, the page mapped again and all of it merged',
    commands: [
      { op: 'map', ia: block, size: block, output: block, attributes: plain },
      { op: 'unmap', ia: block + 3 * page, size: page },
      { op: 'lookup', ia: block + 3 * page },
      { op: 'query', ia: 0, size: 3 * block },
      { op: 'query', ia: block + 1, size: page },
      { op: 'map', ia: block + 3 * page, size: page, output: block + 3 * page, attributes: plain },
      { op: 'merge', ia: block, size: block },
      { op: 'unmap', ia: block, size: block },
    ],
  },
  {
    name: 'other attributes for a part of a block split it, for the whole of it make it a block again',
    commands: [
      { op: 'map', ia: 0, size: 2 * block, output: 0, attributes: plain },
      { op: 'query', ia: page, size: page },
      { op: 'map', ia: page, size: 2 * page, output: page, attributes: other },
      { op: 'merge', ia: 0, size: 2 * block },
      { op: 'map', ia: 0, size: 2 * block, output: 0, attributes: other },
      { op: 'lookup', ia: page + 5 },
    ],
  },
  {
    name: 'blocks split to pages keep output and attributes, uniform pages merge again',
    commands: [
      { op: 'map', ia: 0, size: block, output: block, attributes: other },
      { op: 'split', ia: page, size: page },
      { op: 'merge', ia: 0, size: block },
      { op: 'age', ia: 0, size: 1, clear: true },
      { op: 'split', ia: page, size: page },
      { op: 'query', ia: 0, size: 4 * page, limit: 2 },
      { op: 'make-young', ia: 2 * page },
      { op: 'merge', ia: 0, size: block },
      { op: 'age', ia: 0, size: block, clear: true },
      { op: 'merge', ia: 0, size: block },
    ],
  },
  {
    name: 'an output that is not aligned takes pages',
    commands: [
      { op: 'map', ia: 0, size: block, output: page, attributes: plain, prepared: 'cancel' },
      { op: 'map', ia: 0, size: block, output: page, attributes: plain, prepared: 'commit' },
      { op: 'merge', ia: 0, size: block },
      { op: 'lookup', ia: block - 1 },
      { op: 'unmap', ia: page + 1, size: page },
      { op: 'query', ia: 2 * page + 1, size: page },
      { op: 'unmap', ia: 0, size: block - page },
      { op: 'unmap', ia: block - page, size: 1 },
    ],
  },
];

const refusals = ({ page, block, limit, outputs, plain }: Ground): readonly Script[] => [
  {
    name: 'another output anywhere in the range refuses the whole mapping, unless it is told to replace',
    commands: [
      { op: 'map', ia: 2 * page, size: page, output: 7 * page, attributes: plain },
      { op: 'map', ia: 0, size: block, output: 0, attributes: plain },
      { op: 'map', ia: 0, size: 2 * page, output: 0, attributes: plain },
      { op: 'map', ia: page, size: 4 * page, output: page, attributes: plain, options: { over: 'replace' } },
      { op: 'map', ia: 0, size: block, output: block, attributes: plain, options: { over: 'replace' } },
      { op: 'map', ia: page, size: page, output: 5 * page, attributes: plain },
      { op: 'map', ia: page, size: page, output: 5 * page, attributes: plain, options: { over: 'replace' } },
    ],
  },
  {
    name: 'ranges beyond the input size, empty ones and outputs that do not fit are refused',
    commands: [
      { op: 'map', ia: limit - page, size: page, output: 0, attributes: plain },
      { op: 'map', ia: limit - page, size: 2 * page, output: page, attributes: plain },
      { op: 'map', ia: limit, size: page, output: 0, attributes: plain },
      { op: 'map', ia: 0, size: 0, output: 0, attributes: plain },
      { op: 'map', ia: 0, size: 2 * page, output: outputs - page, attributes: plain },
      { op: 'map', ia: 0, size: page, output: outputs - page, attributes: plain },
      { op: 'map', ia: page, size: page, output: page / 2, attributes: plain },
      { op: 'map', ia: 0.5, size: page, output: 0, attributes: plain },
      { op: 'unmap', ia: limit, size: page },
      { op: 'unmap', ia: 0, size: 0 },
      { op: 'write-protect', ia: limit - page, size: page + 1 },
      { op: 'lookup', ia: limit - 1 },
      { op: 'lookup', ia: limit },
      { op: 'make-young', ia: 5 * page },
      { op: 'relax', ia: 5 * page, add: { read: true } },
      { op: 'query', ia: 0, size: limit },
    ],
  },
];

/** More blocks than the suite's pools have pages. */
const MANY = 32;

const pools = ({ page, block, limit, plain }: Ground): readonly Script[] => {
  const size = Math.min(MANY * block, limit / 2);
  return [
    {
      name: 'operations that need more tables than there are are refused whole',
      commands: [
        { op: 'map', ia: 0, size: page, output: page, attributes: plain },
        { op: 'map', ia: 0, size, output: page, attributes: plain },
        { op: 'map', ia: 0, size, output: page, attributes: plain, prepared: 'commit' },
        { op: 'unmap', ia: 0, size: page },
        { op: 'map', ia: 0, size, output: 0, attributes: plain },
        { op: 'split', ia: 0, size },
        { op: 'annotate', ia: 0, size: 2 * page, type: 1, value: 1n },
        { op: 'map', ia: 0, size, output: page, attributes: plain, options: { over: 'replace' } },
        { op: 'unmap', ia: 0, size },
      ],
    },
  ];
};

const marks = ({ page, block, plain }: Ground): readonly Script[] => [
  {
    name: 'annotations replace mappings, survive where nothing touches them, and make way for a mapping',
    commands: [
      { op: 'map', ia: 0, size: block, output: 0, attributes: plain },
      { op: 'annotate', ia: 2 * page, size: 3 * page, type: 9, value: 77n },
      { op: 'lookup', ia: 3 * page },
      { op: 'merge', ia: 0, size: block },
      { op: 'unmap', ia: 2 * page, size: page },
      { op: 'map', ia: 3 * page, size: page, output: 9 * page, attributes: plain },
      { op: 'map', ia: 0, size: block, output: 0, attributes: plain, options: { over: 'replace' } },
      { op: 'annotate', ia: 0, size: 0, type: 1, value: 0n },
      { op: 'annotate', ia: 0, size: page, type: 0, value: 0n },
    ],
  },
  {
    name: 'write protection, ageing and relaxing change whole leaves and split none',
    commands: [
      { op: 'map', ia: 0, size: block + 3 * page, output: 0, attributes: plain },
      { op: 'write-protect', ia: block - page, size: 2 * page },
      { op: 'age', ia: block, size: page, clear: false },
      { op: 'age', ia: 0, size: block + 2 * page, clear: true },
      { op: 'age', ia: 0, size: block, clear: false },
      { op: 'make-young', ia: block + page + 1 },
      { op: 'relax', ia: block, add: { px: true, ux: true } },
      { op: 'relax', ia: block - 1, add: { write: true } },
      { op: 'relax', ia: block + page, add: { write: true, px: true, ux: true } },
      { op: 'flush', ia: 0, size: 2 * block },
      { op: 'unmap', ia: 0, size: 2 * block, options: { tlbi: 'deferred' } },
    ],
  },
];

/** Fixed sequences that reach what every core must get right, whatever the random ones reach. */
export function scripts(format: Format): readonly Script[] {
  const ground = groundOf(format);
  return [...blocks(ground), ...refusals(ground), ...marks(ground), ...pools(ground)];
}
