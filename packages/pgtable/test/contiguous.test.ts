import { armv8 } from '@granule/armv8';
import { stage2Geometry } from '@granule/geometry';
import { createTableArena } from '@granule/memory';
import { expect, it } from 'vitest';
import { createPageTable } from '../src/index.js';

it('a mapping that asks for the contiguous bit is not modelled, and changes nothing', () => {
  const geometry = stage2Geometry({ granule: '4K', ipaBits: 40 });
  if (geometry.kind !== 'done') throw new Error(geometry.sentence);
  const format = armv8.format('s2', { geometry: geometry.value });
  if (format.kind !== 'done') throw new Error('no format');
  const table = createPageTable({ format: format.value, memory: createTableArena({ pageShift: 12 }) });
  if (table.kind !== 'done') throw new Error('no table');
  expect(table.value.map(0, 2 ** 21, 0, { read: true, contiguous: true })).toMatchObject({ kind: 'not-modelled', id: 'map.contiguous' });
  expect(table.value.memory.taken).toBe(2);
  expect(table.value.query(0, 2 ** 21)).toEqual([]);
});
