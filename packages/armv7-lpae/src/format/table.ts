import { done, refused, type Field, type Outcome, type TableAttributes, type Words } from '@granule/contract';
import { optionalSlot, type TableCodec } from '@granule/contract/codec';
import { putSlot, takeSlot, type Slot } from '@granule/geometry/bits';
import type { Shape } from './shape.js';

const HIERARCHICAL = 'DDI 0406C B3.7';

/**
 * Attributes of a table descriptor. Stage 2 has none; `pl2` has no APTable[0] and no PXNTable. As in a leaf, XNTable forbids execution at
 * PL1 and PL0: `uxnTable` is XNTable, and `pxnTable` is XNTable or PXNTable.
 */
export class Armv7Table implements TableCodec {
  private readonly nsTable: Slot | undefined;
  private readonly apTable: Slot | undefined;
  private readonly xnTable: Slot | undefined;
  private readonly pxnTable: Slot | undefined;
  private readonly regime: string;
  /** `pl2`: the field is APTable[1] alone. */
  private readonly apShift: 0 | 1;

  constructor({ regime }: Shape, layout: readonly Field[]) {
    this.regime = regime;
    this.apShift = regime === 'pl2' ? 1 : 0;
    this.nsTable = optionalSlot(layout, 'NSTable');
    this.apTable = optionalSlot(layout, regime === 'pl2' ? 'APTable[1]' : 'APTable');
    this.xnTable = optionalSlot(layout, 'XNTable');
    this.pxnTable = optionalSlot(layout, 'PXNTable');
  }

  decode(lo: number, hi: number): TableAttributes {
    const value = (slot: Slot | undefined): number => (slot === undefined ? 0 : takeSlot(slot, lo, hi));
    const xnTable = value(this.xnTable) !== 0;
    return {
      nsTable: value(this.nsTable) !== 0,
      apTable: value(this.apTable) << this.apShift,
      uxnTable: xnTable,
      pxnTable: xnTable || value(this.pxnTable) !== 0,
    };
  }

  /** Refused: `attributes.not-in-regime`, `attributes.ap-table`. */
  encode(request: Partial<TableAttributes>): Outcome<Words> {
    const { nsTable = false, apTable = 0, uxnTable = false, pxnTable = uxnTable } = request;
    if (!Number.isInteger(apTable) || apTable < 0 || apTable > 3) {
      return refused('attributes.ap-table', `APTable ${apTable} is not an integer from 0 to 3.`, HIERARCHICAL);
    }
    const misfit = this.misfit(apTable, uxnTable, pxnTable);
    if (misfit !== undefined) return refused('attributes.not-in-regime', misfit, HIERARCHICAL);
    const words = { lo: 0b11, hi: 0 };
    const fields = [
      ['nsTable', this.nsTable, nsTable ? 1 : 0],
      ['apTable', this.apTable, apTable >> this.apShift],
      ['uxnTable', this.xnTable, uxnTable ? 1 : 0],
      ['pxnTable', this.pxnTable, pxnTable && !uxnTable ? 1 : 0],
    ] as const;
    for (const [name, slot, value] of fields) {
      if (slot !== undefined) putSlot(words, slot, value);
      else if (value !== 0) {
        const sentence = `Table attribute ${name} cannot be set: ${this.regime} tables have no such field.`;
        return refused('attributes.not-in-regime', sentence, HIERARCHICAL);
      }
    }
    return done(words);
  }

  private misfit(apTable: number, uxnTable: boolean, pxnTable: boolean): string | undefined {
    if (this.regime === 'pl2' && (apTable & 1) !== 0) return `APTable ${apTable} cannot be: APTable[0] is RES0 in pl2.`;
    return uxnTable && !pxnTable ? 'uxnTable true with pxnTable false cannot be: XNTable forbids execution at PL1 too.' : undefined;
  }
}
