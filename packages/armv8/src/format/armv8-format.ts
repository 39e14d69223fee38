import { ENTRY, refused, type Format } from '@granule/contract';
import { DescriptorFormat, descriptorMeanings } from '@granule/contract/codec';
import { BREAK_RULES } from './break.js';
import { descriptorLayout } from './layouts.js';
import { MEANINGS } from './meanings.js';
import { formatNumbers } from './numbers.js';
import type { Shape } from './shape.js';
import { Stage1Leaf } from './stage1.js';
import { Stage2Leaf } from './stage2.js';
import { Armv8Table } from './table.js';
import { tlbiSequences } from './tlbi.js';

const FORMATS = 'DDI 0487 D8.3.1';
const meaning = descriptorMeanings(MEANINGS);

/** A VMSAv8-64 descriptor format. */
export function armv8Format(shape: Shape, upper: boolean): Format {
  const { regime, geometry, features } = shape;
  const { granule, ds, stage, oaBits } = geometry;
  const page = descriptorLayout(ENTRY.leaf, { ...shape, level: 3 });
  return new DescriptorFormat({
    backend: 'armv8',
    regime,
    geometry,
    upper,
    numbers: formatNumbers(shape, page),
    linuxMinBlockLevel: granule === '4K' ? 1 : 2,
    tlbi: tlbiSequences(regime, features),
    oaBits,
    oaSource: FORMATS,
    leaf: stage === 2 ? new Stage2Leaf(shape, page) : new Stage1Leaf(shape, page),
    table: new Armv8Table(shape, descriptorLayout(ENTRY.table, { ...shape, level: 2 })),
    layout: (kind, level) => descriptorLayout(kind, { ...shape, level }),
    meaning: (kind, level, field, value, word) => meaning({ shape: { ...shape, level }, kind, field, word }, value),
    noLeaf: (level) =>
      refused('attributes.level', `Level ${level} has no block descriptor with the ${granule} granule and DS ${ds ? 1 : 0}.`, FORMATS),
    breaks: BREAK_RULES,
    bbm: features.bbm ?? 0,
  });
}
