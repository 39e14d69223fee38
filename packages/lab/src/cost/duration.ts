/** Nanoseconds of a unit. */
const UNITS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  min: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

/** A time as people write it (`949 ms`, `1.5 us`, `30 min`), in nanoseconds; undefined where it is none, or no whole number of them up to 2^53. */
export function parseDuration(text: string): number | undefined {
  const [, whole, decimals = '', unit] = /^(\d+)(?:\.(\d+))? ?(ns|us|ms|s|min|h)$/.exec(text) ?? [];
  if (whole === undefined) {
    return undefined;
  }
  const scaled = BigInt(whole + decimals) * UNITS[unit];
  const divisor = 10n ** BigInt(decimals.length);
  const ns = Number(scaled / divisor);
  return scaled % divisor === 0n && Number.isSafeInteger(ns) ? ns : undefined;
}

/** Three or four significant digits in the unit that suits: `949 ms`, `6.85 ms`, `3.516 s`, `30 min`. */
export function durationText(ns: number): string {
  const [unit, size] = ([['h', 3.6e12], ['min', 6e10], ['s', 1e9], ['ms', 1e6], ['us', 1e3]] as const).find(([, each]) => ns >= each) ?? (['ns', 1] as const);
  const value = ns / size;
  const decimals = value >= 100 || unit === 'ns' ? 0 : value >= 10 ? 1 : 2;
  return `${Number(value.toFixed(decimals)).toLocaleString('en')} ${unit}`;
}
