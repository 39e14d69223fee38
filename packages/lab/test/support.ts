import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { armv8 } from '@granule/armv8';
import type { Outcome, PhysicalReader } from '@granule/contract';
import { bytesSource } from '@granule/memory';
import { openImage as openMemory, readRegisters, type RegistersFile } from '@granule/snapshot';
import { dump, type DumpOptions, type Image, openImage, type RegimeTables, type Scan } from '../src/index.js';

export function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'done') {
    throw new Error(outcome.sentence);
  }
  return outcome.value;
}

export interface Checkpoint {
  readonly name: string;
  readonly image: Image;
  readonly file: RegistersFile;
  /** Text of a file of the run, inflated; undefined where there is none. */
  text(name: string): string | undefined;
}

/** A checkpoint of a recorded run: `D-16k36-T/c1`. */
export function openCheckpoint(name: string): Checkpoint {
  const path = join(import.meta.dirname, 'data', name);
  const file = valueOf(readRegisters(readFileSync(`${path}.regs.json`, 'utf8')));
  const { memory } = valueOf(openMemory(bytesSource(readFileSync(`${path}.core.gz`))));
  const text = (each: string): string | undefined => {
    const at = join(path, '..', each);
    return !existsSync(at) ? undefined : at.endsWith('.gz') ? gunzipSync(readFileSync(at)).toString() : readFileSync(at, 'utf8');
  };
  return { name: name.split('/')[1], image: openBytes(memory, file), file, text };
}

/** An image of handmade memory and registers. */
export function openBytes(
  memory: PhysicalReader,
  file: Pick<RegistersFile, 'registers'> & Partial<RegistersFile>,
  tableBytes?: number,
): Image {
  const limits = tableBytes === undefined ? {} : { tableBytes };
  return valueOf(openImage({ memory, registers: file.registers, regimes: file.regimes ?? [], backends: { armv8 }, ...limits }));
}

/** What a dump prints, and what it found. */
export function dumped(
  tables: readonly RegimeTables[],
  options: Omit<DumpOptions, 'tables'>,
): { readonly text: string; readonly scans: readonly Scan[] } {
  let text = '';
  const scans = dump({ tables, ...options }, (piece) => (text += piece));
  return { text, scans };
}

export const PAGE = 4096;

/** Memory of 4K pages, written entry by entry; what is not written does not exist. */
export class HandmadeMemory implements PhysicalReader {
  readonly #pages = new Map<number, DataView>();

  page(pa: number): DataView {
    const page = this.#pages.get(pa) ?? new DataView(new ArrayBuffer(PAGE));
    this.#pages.set(pa, page);
    return page;
  }

  set(table: number, index: number, descriptor: bigint): this {
    this.page(table).setBigUint64(index * 8, descriptor, true);
    return this;
  }

  fill(table: number, descriptor: (index: number) => bigint): this {
    for (let i = 0; i < 512; i++) {
      this.set(table, i, descriptor(i));
    }
    return this;
  }

  read(pa: number, into: Uint8Array): boolean {
    for (let at = 0; at < into.length;) {
      const start = pa + at;
      const page = this.#pages.get(start - (start % PAGE));
      if (page === undefined) {
        return false;
      }
      const bytes = Math.min(PAGE - (start % PAGE), into.length - at);
      into.set(new Uint8Array(page.buffer, start % PAGE, bytes), at);
      at += bytes;
    }
    return true;
  }
}

/** VTCR_EL2 of a 4K table: T0SZ 25, SL0 1 (start level 1, one table of 512 entries), 48-bit PA, HA clear (DDI 0487 VTCR_EL2). */
export const VTCR_39 = 0x8005_3559n;
export const ROOT = 0x4000_0000;

/** Registers of a machine whose stage 2 is one 4K table with a 39-bit IPA at {@link ROOT}; 48-bit PA (ID_AA64MMFR0_EL1.PARange 5). */
export const STAGE2 = { VTCR_EL2: VTCR_39, VTTBR_EL2: BigInt(ROOT), HCR_EL2: 1n, ID_AA64MMFR0_EL1: 5n } as const;

/** A stage-2 page or block: read/write, Normal Write-Back, inner shareable, AF (DDI 0487 D8.3.1). */
export const page = (pa: number): bigint => BigInt(pa) + 0x7ffn;
export const block = (pa: number): bigint => BigInt(pa) + 0x7fdn;
export const table = (pa: number): bigint => BigInt(pa) + 3n;
