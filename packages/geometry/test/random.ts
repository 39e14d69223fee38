/** Integers below a bound up to 2^53, from a seed (mulberry32): the same numbers in every run. */
export function random(seed: number): (bound: number) => number {
  let state = seed;
  const next32 = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  return (bound) => Number(((BigInt(next32()) << 32n) | BigInt(next32())) % BigInt(bound));
}
