import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Outcome, PhysicalReader } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { bytesSource } from '@granule/memory';
import { openImage, readRegisters, type Image, type NamedRegime, type RegistersFile } from '@granule/snapshot';

/** A recorded file, see data/README.md. */
export const sample = (name: string): Buffer => readFileSync(fileURLToPath(new URL(`data/${name}`, import.meta.url)));

export const sampleText = (name: string): string => sample(name).toString('utf8');

export const valueOf = <T>(outcome: Outcome<T>): T => {
  if (outcome.kind !== 'done') throw new Error(`${outcome.id}: ${outcome.sentence}`);
  return outcome.value;
};

export const sampleImage = (name: string): Image => valueOf(openImage(bytesSource(sample(name))));

export const sampleRegisters = (name: string): RegistersFile => valueOf(readRegisters(sampleText(name)));

export interface Entry {
  readonly ia: number;
  readonly level: Level;
  readonly lo: number;
  readonly hi: number;
}

/** Every entry of a table that is not a table itself, in order: DDI 0487 D8.3, 48-bit output addresses. */
export function* entriesOf(memory: PhysicalReader, regime: NamedRegime): Generator<Entry> {
  const { granuleShift, root, startLevel, rootEntries } = regime;
  yield* tableEntries(root, startLevel!, rootEntries!, 0);

  function* tableEntries(table: number, level: number, count: number, ia: number): Generator<Entry> {
    const bytes = new Uint8Array(count * 8);
    if (!memory.read(table, bytes)) throw new Error(`no table at ${table.toString(16)}`);
    const view = new DataView(bytes.buffer);
    const span = 2 ** (granuleShift + (3 - level) * (granuleShift - 3));
    for (let i = 0; i < count; i += 1) {
      const lo = view.getUint32(i * 8, true);
      const hi = view.getUint32(i * 8 + 4, true);
      if (level < 3 && lo % 4 === 3) {
        yield* tableEntries((hi % 0x10000) * 2 ** 32 + lo - (lo % 2 ** granuleShift), level + 1, 2 ** (granuleShift - 3), ia + i * span);
      } else {
        yield { ia: ia + i * span, level: level as Level, lo, hi };
      }
    }
  }
}
