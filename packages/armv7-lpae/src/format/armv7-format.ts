import { ENTRY, refused, type Format } from '@granule/contract';
import { DescriptorFormat, descriptorMeanings } from '@granule/contract/codec';
import { BREAK_RULES } from './break.js';
import { descriptorLayout } from './layouts.js';
import { MEANINGS } from './meanings.js';
import { formatNumbers } from './numbers.js';
import { OA_BITS, type Shape } from './shape.js';
import { Stage1Leaf } from './stage1.js';
import { Stage2Leaf } from './stage2.js';
import { Armv7Table } from './table.js';
import { tlbiSequences } from './tlbi.js';

const FORMATS = 'DDI 0406C B3.6.1';
const meaning = descriptorMeanings(MEANINGS);

/** An ARMv7 long-descriptor format. */
export function armv7Format(shape: Shape, upper: boolean): Format {
  const { regime, geometry } = shape;
  const { stage } = geometry;
  const page = descriptorLayout(ENTRY.leaf, { ...shape, level: 3 });
  return new DescriptorFormat({
    backend: 'armv7-lpae',
    regime,
    geometry,
    upper,
    numbers: formatNumbers(stage, page),
    // KVM on 32-bit hosts maps no 1 GiB blocks (Linux 4.8 stage2_wp_puds: BUG_ON).
    linuxMinBlockLevel: 2,
    tlbi: tlbiSequences(regime),
    oaBits: OA_BITS,
    oaSource: FORMATS,
    leaf: stage === 2 ? new Stage2Leaf(page) : new Stage1Leaf(shape, page),
    table: new Armv7Table(shape, descriptorLayout(ENTRY.table, { ...shape, level: 2 })),
    layout: (kind, level) => descriptorLayout(kind, { ...shape, level }),
    meaning: (kind, level, field, value, word) => meaning({ shape: { ...shape, level }, kind, field, word }, value),
    noLeaf: (level) => refused('attributes.level', `Level ${level} does not exist in ARMv7.`, FORMATS),
    breaks: BREAK_RULES,
    bbm: 0,
  });
}
