import { describe, expect, it } from 'vitest';
import { ContextPool, type ContextKey } from '../src/index.js';
import { stateOf, VTCR_40 } from './support.js';

const A = 0x0001_0000_8020_0000n;
/** The same VMID, another BADDR. */
const A2 = 0x0001_0000_8030_0000n;
const B = 0x0002_0000_8020_0000n;

function pool(vcpus: number, key?: ContextKey): ContextPool {
  const made = new ContextPool(key);
  for (let i = 0; i < vcpus; i++) made.grow();
  return made;
}

describe('a pool of contexts', () => {
  it('has two for each vCPU', () => {
    expect(pool(3).contexts).toHaveLength(6);
  });

  it('finds a context again by VTTBR_EL2, VMID and BADDR, but for CnP', () => {
    const contexts = pool(1);
    const { context } = contexts.take(stateOf(A));
    contexts.put(context);
    expect(contexts.take(stateOf(A | 1n))).toEqual({ context, found: true });
  });

  it.each([
    ['another BADDR', stateOf(A2)],
    ['another VMID', stateOf(B)],
    ['another VTCR_EL2', stateOf(A, { vtcr: VTCR_40 | (1n << 21n) })],
    ['stage 2 off', stateOf(A, { stage2: false })],
  ])('does not find it with %s', (_, state) => {
    const contexts = pool(1);
    contexts.put(contexts.take(stateOf(A)).context);
    expect(contexts.lookup(state)).toBeUndefined();
  });

  it('with stage 2 off looks at the VMID alone, among contexts with stage 2 off', () => {
    const contexts = pool(1);
    contexts.put(contexts.take(stateOf(A, { stage2: false })).context);
    expect(contexts.lookup(stateOf(A2, { stage2: false, vtcr: 0n }))?.index).toBe(0);
    expect(contexts.lookup(stateOf(B, { stage2: false }))).toBeUndefined();
  });

  it('takes victims in turn, after the last one, and owes their unmapping only where they were used before', () => {
    const contexts = pool(1);
    const taken = [A, B, A2, A].map((vttbr) => {
      const { context } = contexts.take(stateOf(vttbr));
      const seen = [context.index, context.pendingUnmap];
      contexts.put(context);
      return seen;
    });
    expect(taken).toEqual([[0, false], [1, false], [0, true], [1, true]]);
  });

  it('passes over a victim that a vCPU holds', () => {
    const contexts = pool(2);
    const held = contexts.take(stateOf(A)).context;
    for (const vttbr of [B, A2, A2 | (9n << 52n)]) contexts.put(contexts.take(stateOf(vttbr)).context);
    expect(contexts.take(stateOf(B | (1n << 53n))).context.index).toBe(1);
    expect(held.references).toBe(1);
  });

  it('cannot run out: vCPUs hold one each, and there are two for each', () => {
    const vcpus = 8;
    const contexts = pool(vcpus);
    const taken = Array.from({ length: vcpus }, (_, i) => contexts.take(stateOf((BigInt(i) << 48n) | 0x8000_0000n)).context.index);
    expect(new Set(taken).size).toBe(vcpus);
  });

  it('is a mistake of the caller to take a context while holding one', () => {
    const contexts = pool(1);
    contexts.take(stateOf(A));
    contexts.take(stateOf(B));
    expect(() => contexts.take(stateOf(A2))).toThrow(RangeError);
  });

  it('lists every context of a VMID, in the order of the array', () => {
    const contexts = pool(2);
    for (const vttbr of [A, B, A2]) contexts.put(contexts.take(stateOf(vttbr)).context);
    expect(contexts.byVmid(1).map(({ index }) => index)).toEqual([0, 2]);
  });
});

describe('the keys of 2017', () => {
  it('by VMID alone, a context serves another table', () => {
    const contexts = pool(1, 'vmid');
    const { context } = contexts.take(stateOf(A));
    contexts.put(context);
    expect(contexts.take(stateOf(A2))).toEqual({ context, found: true });
    expect(context.pendingUnmap).toBe(false);
  });

  it('by VMID, unmapped where BADDR changes: the same context, which owes its unmapping', () => {
    const contexts = pool(1, 'vmid-unmap-on-baddr');
    const { context } = contexts.take(stateOf(A));
    contexts.put(context);
    expect(contexts.take(stateOf(A2)).found).toBe(true);
    expect([context.pendingUnmap, context.vttbr]).toEqual([true, A2]);
  });
});
