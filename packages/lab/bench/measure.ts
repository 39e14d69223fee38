/** Minimum time of one run of `body` over `samples`, in ns; `before` prepares each run and is not timed. */
export function fastest(body: () => void, options: { readonly samples?: number; readonly before?: () => void } = {}): number {
  let best = Infinity;
  for (let i = 0; i < (options.samples ?? 25); i++) {
    options.before?.();
    const start = process.hrtime.bigint();
    body();
    best = Math.min(best, Number(process.hrtime.bigint() - start));
  }
  return best;
}

const UNIT_BYTES = 2 ** 21;

/** The unit of all ratios: ns that `Float64Array.fill` takes for 8 bytes, over 2 MiB, in this very run. */
export function fillUnit(): number {
  const array = new Float64Array(UNIT_BYTES / 8);
  return fastest(() => array.fill(1.5), { samples: 200 }) / array.length;
}

export interface Row {
  readonly what: string;
  readonly value: string;
  readonly limit?: string;
  readonly kept?: boolean;
}

/** A ratio against its limit. */
export function ratio(what: string, value: number, limit: number, unit: string): Row {
  return { what, value: `${value.toFixed(2)} ${unit}`, limit: `<= ${String(limit)}`, kept: value <= limit };
}

export function print(title: string, rows: readonly Row[]): void {
  console.log(`\n${title}`);
  for (const { what, value, limit = '', kept } of rows) {
    console.log(`  ${what.padEnd(36)} ${value.padStart(18)}   ${limit.padEnd(10)} ${kept === undefined ? '' : kept ? 'kept' : 'MISSED'}`);
  }
}
