import type { TableMemory } from '@granule/contract';

/** One descriptor as a guest stores it: IPA and value. */
export interface Store {
  readonly address: number;
  readonly value: bigint;
}

/** The descriptors of a table that a guest makes, in the order of their addresses: those that are not what `stored` has, or not 0. */
export function storesOf({ words }: Pick<TableMemory, 'words'>, base: number, stored: ReadonlyMap<number, bigint> = new Map()): readonly Store[] {
  const stores: Store[] = [];
  for (let word = 0; word < words.length; word += 2) {
    const address = base + word * 4;
    const was = stored.get(address);
    if (words[word] === 0 && words[word + 1] === 0 && was === undefined) {
      continue;
    }
    const value = (BigInt(words[word + 1]) << 32n) | BigInt(words[word]);
    if (value !== (was ?? 0n)) {
      stores.push({ address, value });
    }
  }
  return stores;
}
