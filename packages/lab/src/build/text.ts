import { formatSize, hex, pow2 } from '@granule/geometry/bits';
import type { BuiltTables } from './build.js';
import type { Region } from './region-map.js';
import { tablesOf, type TableText } from './tables.js';

const REGISTER_DIGITS = { armv8: 16, other: 8 } as const;

/** A register value: 16 digits, but 8 of the 32-bit ones of ARMv7. */
function valueText(backend: string, value: bigint): string {
  return hex(value, backend === 'armv8' || value >= 1n << 32n ? REGISTER_DIGITS.armv8 : REGISTER_DIGITS.other);
}

function regionText({ start, size, output, type, label }: Region): string {
  const to = output === start ? '' : ` -> ${hex(output)}`;
  return `${hex(start)}-${hex(start + size)}${to}  ${type.permissions} ${type.memory}${label === '' ? '' : `  ${label}`}`;
}

/** What was built, for people: regions, tables and pool, registers. */
export function buildLines({ table, regions, registers, pool, bytes }: BuiltTables): readonly string[] {
  const { format, root } = table;
  const { granule, iaBits, startLevel, oaBits } = format.geometry;
  const levels = pool.exact.byLevel.filter(({ tables }) => tables > 0).map(({ level, tables }) => `level ${level}: ${tables}`);
  return [
    `${format.regime}: ${granule} granule, ${iaBits}-bit input, ${oaBits}-bit output, start level ${startLevel}`,
    ...regions.map((region) => `  ${regionText(region)}`),
    `tables at ${hex(root)}-${hex(root + bytes.length)}: ${bytes.length / pow2(format.geometry.pageShift)} of ${granule}, ${formatSize(bytes.length)}; ${levels.join(', ')}`,
    `pool: ${formatSize(pool.exact.bytes)}; ${formatSize(pool.worst.bytes)} if every page is mapped by itself`,
    ...Object.entries(registers).map(([name, value]) => `  ${name.padEnd(10)} ${valueText(format.backend, value)}`),
  ];
}

/** Entries as assembly; what is zero in one directive. */
function* entryLines({ entries }: TableText): Generator<string> {
  for (let i = 0; i < entries.length; ) {
    let end = i;
    while (end < entries.length && entries[end] === 0n) end += 1;
    if (end > i) {
      yield `\t.zero\t${8 * (end - i)}\n`;
      i = end;
    } else {
      yield `\t.quad\t${hex(entries[i])}\t/* [${i}] */\n`;
      i += 1;
    }
  }
}

/** Symbols for register values; of a 64-bit one of ARMv7 two halves, which assemblers for it can hold. */
function symbolLines({ table, registers }: BuiltTables): readonly string[] {
  const wide = table.format.backend === 'armv8';
  return Object.entries(registers).flatMap(([name, value]) =>
    wide || value < 1n << 32n
      ? [`\t.set\tGRANULE_${name}, ${valueText(table.format.backend, value)}\n`]
      : [`\t.set\tGRANULE_${name}_LOW, ${hex(value & 0xffff_ffffn, 8)}\n`, `\t.set\tGRANULE_${name}_HIGH, ${hex(value >> 32n, 8)}\n`],
  );
}

/** Assembly for GNU as and LLVM: the tables as data, to be linked at their base, and the register values as symbols. */
export function* buildAssembly(built: BuiltTables): Generator<string> {
  const { table, bytes } = built;
  const { entryAlignment, pageShift, entryBytes } = table.format.geometry;
  yield `${buildLines(built).map((line) => `/* ${line.replaceAll('*/', '* /')} */`).join('\n')}\n\n`;
  yield* symbolLines(built);
  yield `\n\t.section .data.granule_tables, "aw"\n\t.balign\t${Math.max(entryAlignment, pow2(pageShift))}\n\t.global granule_tables\ngranule_tables:\n`;
  for (const each of tablesOf(table)) {
    yield `\n/* level ${each.level} at ${hex(each.address)}, from ${hex(each.start)} on */\n`;
    yield* entryLines(each);
    if (8 * each.entries.length < pow2(pageShift) && entryBytes < pow2(pageShift)) {
      yield `\t.zero\t${pow2(pageShift) - 8 * each.entries.length}\n`;
    }
  }
  yield `\n\t.global granule_tables_end\ngranule_tables_end:\t/* ${hex(table.root + bytes.length)} */\n`;
}
