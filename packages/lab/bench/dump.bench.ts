import { armv8 } from '@granule/armv8';
import { dump, DUMP_FORMATS, openImage, type RegimeTables } from '@granule/lab';
import { bytesSource, sparseMemory } from '@granule/memory';
import { print, type Row } from './measure.js';

// 1,048,576 leaf mappings of one stage 2: a root, 4 and 2048 tables; frames scattered and permissions mixed, so that nothing merges.
const BASE = 0x4000_0000;
const LEAVES = 2 ** 20;

function imageBytes(): Uint8Array {
  const bytes = new Uint8Array((1 + 4 + 2048) * 4096);
  const view = new DataView(bytes.buffer);
  const set = (page: number, index: number, value: bigint): void => view.setBigUint64(page * 4096 + index * 8, value, true);
  for (let i = 0; i < 4; i++) set(0, i, BigInt(BASE + 4096 * (1 + i)) + 3n);
  for (let i = 0; i < 2048; i++) set(1 + Math.floor(i / 512), i % 512, BigInt(BASE + 4096 * (5 + i)) + 3n);
  for (let i = 0; i < LEAVES; i++) {
    set(5 + Math.floor(i / 512), i % 512, BigInt(((i * 7919) % LEAVES) * 4096) + 0x7ffn + (i % 3 === 0 ? 0n : 1n << 54n));
  }
  return bytes;
}

const bytes = imageBytes();

function tables(): readonly RegimeTables[] {
  const memory = sparseMemory([{ pa: BASE, bytes: bytes.length, fileBytes: bytes.length, source: bytesSource(bytes), offset: 0 }]);
  if (memory.kind !== 'done') throw new Error(memory.kind);
  const registers = { VTCR_EL2: 0x8005_3559n, VTTBR_EL2: BigInt(BASE), ID_AA64MMFR0_EL1: 5n };
  const image = openImage({ memory: memory.value, registers, backends: { armv8 } });
  const found = image.kind === 'done' ? image.value.tables('s2') : image;
  if (found.kind !== 'done') throw new Error(found.sentence);
  return found.value;
}

function milliseconds(format: (typeof DUMP_FORMATS)[number]): number {
  let best = Infinity;
  for (let i = 0; i < 3; i++) {
    const fresh = tables();
    const start = process.hrtime.bigint();
    dump({ tables: fresh, format, merge: format === 'ptdump' || format === 'dot' }, () => undefined);
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1e6);
  }
  return best;
}

const rows = DUMP_FORMATS.map((format): Row => ({ what: format, value: `${milliseconds(format).toFixed(0)} ms` }));
print('dump of 1,048,576 leaf mappings, a row each (ptdump, dot: merged)', rows);
