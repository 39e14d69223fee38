import type { Effect, EffectSink, EntryEffect, Format, WriteEffect } from '@granule/contract';
import { entrySpan } from '@granule/geometry';
import { tlbAddress } from '../tlb/address.js';
import { mustHappen } from './maintenance.js';
import type { Pe } from './pe.js';

const ENTRY_BYTES = 8;

/**
 * Software at EL2 that acts on a machine through its effects: table writes become stores of the PE, entry by entry; maintenance acts on TLBs and caches.
 * Tables are addressed physically: the hypervisor's own stage 1 is not walked for them. Pages are zero when they are taken and when they are freed. What a
 * context, an access or a fault tells has no effect of its own.
 */
export class TableSink implements EffectSink {
  constructor(
    private readonly pe: Pe,
    private readonly format: Format | undefined,
  ) {}

  /** @throws RangeError for a TLBI that does not exist, or a table write without memory below it */
  effect(effect: Effect): void {
    switch (effect.type) {
      case 'write':
        this.#write(effect);
        return;
      case 'tlbi':
      case 'dsb':
      case 'isb':
      case 'cmo':
        this.#maintain(effect, 0, 0);
        return;
      case 'take':
      case 'free':
        this.#zero(effect.table, effect.pages);
        this.pe.tell(effect);
        return;
      case 'register':
        this.pe.writeRegister(effect.name, effect.value);
        return;
      case 'context-installed':
      case 'context-retired':
        this.pe.tell(effect);
        return;
      case 'access':
      case 'fault':
        return;
    }
  }

  #write(run: WriteEffect): void {
    const { table, level, index, count, address, before = [], after = [] } = run;
    const span = this.format === undefined ? 0 : entrySpan(this.format.geometry.granule, level);
    for (let i = 0; i < count; i += 1) {
      for (const each of before) this.#maintain(each, i * span, i);
      const [lo, hi] = [run.new[2 * i], run.new[2 * i + 1]];
      const pa = table + (index + i) * ENTRY_BYTES;
      if (!this.pe.machine.writeDescriptor(this.pe.index, pa, lo, hi)) throw new RangeError(`There is no memory at 0x${pa.toString(16)}.`);
      const words = { old: run.old.slice(2 * i, 2 * i + 2), new: run.new.slice(2 * i, 2 * i + 2) };
      this.pe.tell({ type: 'write', table, level, release: run.release, ...words, index: index + i, count: 1, address: address + i * span });
      for (const each of after) this.#maintain(each, i * span, i);
    }
  }

  /** @param offset bytes of input address from the first entry of the run @param entries entries from it */
  #maintain(effect: EntryEffect, offset: number, entries: number): void {
    const { maintenance } = this.pe;
    switch (effect.type) {
      case 'dsb':
        maintenance.dsb(effect.domain);
        return;
      case 'isb':
        this.pe.isb();
        return;
      case 'cmo':
        maintenance.cmo({ ...effect, address: effect.address + entries * effect.bytes });
        return;
      case 'tlbi': {
        const address = effect.address === undefined ? undefined : effect.address + offset;
        const start = address === undefined ? undefined : this.#place(address);
        mustHappen(maintenance.tlbiEffect(address === undefined ? effect : { ...effect, address }, start));
      }
    }
  }

  /** An offset into the table's range, as TLBs count it. */
  #place(address: number): number {
    const { upper = false, geometry, regime = '' } = this.format ?? {};
    if (!upper || geometry === undefined) return address;
    return regime.startsWith('pl') ? 2 ** 32 - 2 ** geometry.iaBits + address : tlbAddress(address, true, geometry.iaBits);
  }

  #zero(table: number, pages: number): void {
    const pageBytes = 2 ** (this.format?.geometry.pageShift ?? 12);
    this.pe.machine.store(this.pe.index, table, new Uint8Array(pages * pageBytes));
  }
}
