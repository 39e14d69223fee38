import { armv8 } from '@granule/armv8';
import { newLookup, type GranulePageTable } from '@granule/pgtable';
import { fastest, fillUnit, print, ratio, type Row } from './measure.js';
import { GIB, RW, emptyTable, must, stage2Format, warmUp } from './tables.js';

/** The page-table core, 4K pages, 40-bit IPA, in fills a page: ns a page over ns that Float64Array.fill takes for 8 bytes. */

const PAGE = 4096;
const AT = GIB;
const TO = 5 * GIB;

interface Costs {
  readonly map: number;
  readonly unmap: number;
  readonly writeProtect: number;
  readonly age: number;
}

function mapPages(table: GranulePageTable, bytes: number): void {
  must(table.map(AT, bytes, TO, RW, { pages: true }));
}

function unmap(table: GranulePageTable, bytes: number): void {
  must(table.unmap(AT, bytes));
}

/** ns a page of each bulk operation on `bytes`. */
function bulkCosts(table: GranulePageTable, bytes: number, samples: number): Costs {
  const pages = bytes / PAGE;
  const per = (body: () => void, before?: () => void): number =>
    fastest(body, { samples, ...(before === undefined ? {} : { before }) }) / pages;
  const remap = (): void => {
    unmap(table, bytes);
    mapPages(table, bytes);
  };
  const map = per(
    () => {
      mapPages(table, bytes);
    },
    () => {
      unmap(table, bytes);
    },
  );
  const writeProtect = per(() => {
    must(table.writeProtect(AT, bytes));
  }, remap);
  const age = per(() => {
    must(table.age(AT, bytes, true));
  }, remap);
  const unmapped = per(
    () => {
      unmap(table, bytes);
    },
    () => {
      mapPages(table, bytes);
    },
  );
  return { map, unmap: unmapped, writeProtect, age };
}

function splitCost(table: GranulePageTable): number {
  const before = (): void => {
    unmap(table, GIB);
    must(table.map(AT, GIB, TO, RW));
  };
  return (
    fastest(
      () => {
        must(table.split(AT, GIB));
      },
      { before },
    ) /
    (GIB / PAGE)
  );
}

function pageByPage(table: GranulePageTable): number {
  const pages = GIB / PAGE;
  const body = (): void => {
    for (let i = 0; i < pages; i++) {
      must(table.map(AT + i * PAGE, PAGE, TO + i * PAGE, RW));
    }
  };
  return (
    fastest(body, {
      before: () => {
        unmap(table, GIB);
      },
    }) / pages
  );
}

function randomLookups(table: GranulePageTable): number {
  const pages = GIB / PAGE;
  const addresses = Float64Array.from({ length: pages }, (_, i) => AT + ((i * 40503) % pages) * PAGE + (i % PAGE));
  const found = newLookup();
  const body = (): void => {
    for (let i = 0; i < pages; i++) {
      table.lookup(addresses[i] ?? 0, found);
    }
  };
  return fastest(body) / pages;
}

/** Heap bytes that an operation leaves behind for each page; the arena itself is not on the JavaScript heap. */
function garbage(table: GranulePageTable): number {
  const collect = (globalThis as { gc?: () => void }).gc;
  collect?.();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 10; i++) {
    mapPages(table, GIB);
    must(table.writeProtect(AT, GIB));
    must(table.age(AT, GIB, true));
    unmap(table, GIB);
  }
  return Math.max(0, process.memoryUsage().heapUsed - before) / (10 * 4 * (GIB / PAGE));
}

warmUp();
const unit = fillUnit();
const table = emptyTable(stage2Format(armv8, '4K', 40), 1024);
const one = bulkCosts(table, GIB, 150);
const large = emptyTable(stage2Format(armv8, '4K', 40), 33_000);
const many = bulkCosts(large, 64 * GIB, 6);
mapPages(large, 64 * GIB);
const bytesPerPage = (large.memory.taken * PAGE) / ((64 * GIB) / PAGE);
const split = splitCost(table);
const single = pageByPage(table);
const lookups = randomLookups(table);

const fills = (what: string, ns: number, limit: number): Row => ratio(what, ns / unit, limit, 'fills');
print(`Page-table core, 4K, 40-bit IPA (a fill is ${unit.toFixed(3)} ns)`, [
  fills('map 1 GiB by pages, a page', one.map, 4),
  fills('unmap', one.unmap, 2),
  fills('write-protect', one.writeProtect, 8),
  fills('age, clearing', one.age, 8),
  fills('split 1 GiB to pages, a page', split, 5),
  fills('map page by page', single, 70),
  fills('random lookup', lookups, 120),
]);
print('64 GiB against 1 GiB, a page', [
  ratio('map', many.map / one.map, 1.5, 'x'),
  ratio('write-protect', many.writeProtect / one.writeProtect, 1.5, 'x'),
  ratio('age', many.age / one.age, 1.5, 'x'),
  ratio('unmap', many.unmap / one.unmap, 4, 'x'),
]);
print('Memory', [
  ratio('table bytes in use a mapped page', bytesPerPage, 8.1, 'bytes'),
  ratio('garbage a page and operation', garbage(table), 1, 'bytes'),
]);
