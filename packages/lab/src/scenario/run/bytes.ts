/** Little-endian, 1 … 8 bytes. */
export function bytesOf(value: bigint, bytes: number): Uint8Array {
  const all = new Uint8Array(8);
  new DataView(all.buffer).setBigUint64(0, value, true);
  return all.subarray(0, bytes);
}

export function valueOf(bytes: Uint8Array): bigint {
  const all = new Uint8Array(8);
  all.set(bytes.subarray(0, 8));
  return new DataView(all.buffer).getBigUint64(0, true);
}
