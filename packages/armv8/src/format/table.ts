import { done, refused, type Field, type Outcome, type TableAttributes, type Words } from '@granule/contract';
import { optionalSlot, type TableCodec } from '@granule/contract/codec';
import { putSlot, takeSlot, type Slot } from '@granule/geometry/bits';
import type { Shape } from './shape.js';

const HIERARCHICAL = 'DDI 0487 D8.4.1.2';

/**
 * Attributes of a table descriptor. Stage 2 has none; `el2` has no APTable[0] and no PXNTable; HPD = 1 switches them off (but for NSTable).
 */
export class Armv8Table implements TableCodec {
  private readonly nsTable: Slot | undefined;
  private readonly apTable: Slot | undefined;
  private readonly uxnTable: Slot | undefined;
  private readonly pxnTable: Slot | undefined;
  private readonly single: boolean;
  private readonly why: string;

  constructor(shape: Shape, layout: readonly Field[]) {
    const permissions = (name: string): Slot | undefined => (shape.hpd ? undefined : optionalSlot(layout, name));
    this.single = shape.regime === 'el2';
    this.why = shape.hpd ? 'hierarchical permissions are disabled (HPD = 1)' : `${shape.regime} tables have no such field`;
    this.nsTable = optionalSlot(layout, 'NSTable');
    this.apTable = permissions(this.single ? 'APTable[1]' : 'APTable');
    this.uxnTable = permissions(this.single ? 'XNTable' : 'UXNTable');
    this.pxnTable = permissions('PXNTable');
  }

  /** In `el2` XNTable is `uxnTable`. */
  decode(lo: number, hi: number): TableAttributes {
    const value = (slot: Slot | undefined): number => (slot === undefined ? 0 : takeSlot(slot, lo, hi));
    return {
      nsTable: value(this.nsTable) !== 0,
      apTable: this.single ? value(this.apTable) << 1 : value(this.apTable),
      uxnTable: value(this.uxnTable) !== 0,
      pxnTable: value(this.pxnTable) !== 0,
    };
  }

  /** Refused: `attributes.not-in-regime`, `attributes.ap-table`. */
  encode({ nsTable = false, apTable = 0, uxnTable = false, pxnTable = false }: Partial<TableAttributes>): Outcome<Words> {
    if (!Number.isInteger(apTable) || apTable < 0 || apTable > 3) {
      return refused('attributes.ap-table', `APTable ${apTable} is not an integer from 0 to 3.`, HIERARCHICAL);
    }
    if (this.single && (apTable & 1) !== 0) {
      return refused('attributes.not-in-regime', `APTable ${apTable} cannot be: APTable[0] is RES0 in el2.`, HIERARCHICAL);
    }
    const words = { lo: 0b11, hi: 0 };
    const fields = [
      ['nsTable', this.nsTable, nsTable ? 1 : 0],
      ['apTable', this.apTable, this.single ? apTable >> 1 : apTable],
      ['uxnTable', this.uxnTable, uxnTable ? 1 : 0],
      ['pxnTable', this.pxnTable, pxnTable ? 1 : 0],
    ] as const;
    for (const [name, slot, value] of fields) {
      if (slot !== undefined) putSlot(words, slot, value);
      else if (value !== 0) return refused('attributes.not-in-regime', `Table attribute ${name} cannot be set: ${this.why}.`, HIERARCHICAL);
    }
    return done(words);
  }
}
