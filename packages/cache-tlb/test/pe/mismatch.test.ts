import { describe, expect, it } from 'vitest';
import { must } from '../tlb/support.js';
import { allSetWays, FiniteTlb, encodeSetWay, takeCacheChoice, type Machine, type Pe } from '../../src/index.js';
import { CACHED, cachedGuest, CACHES, DEVICE, OUTPUT, SHAPE, UNCACHED, valueOf } from './cached-guest.js';

/** A loop over the sets and ways of both levels, as a guest runs it on its PE. */
function flush({ maintenance }: Pe, machine: Machine): void {
  const levels = [SHAPE, machine.caches!.outer?.shape].flatMap((shape, at) => (shape === undefined ? [] : [{ shape, at }]));
  for (const { shape, at } of levels) {
    for (const each of allSetWays(at + 1, shape)) maintenance.bySetWay('CISW', Math.floor(encodeSetWay(each, shape, 64) / 16), at);
  }
}

describe('data that is not what was written last', () => {
  it('is told where an uncached alias reads memory past a dirty line: the write is to blame', () => {
    const { machine, last, violations } = cachedGuest();
    const [first, second] = machine.pes;
    first.write('el10', CACHED, 42n);
    const write = last();
    const answer = second.read('el10', UNCACHED);
    expect(answer).toMatchObject({ kind: 'done', value: 0n, mismatch: { rule: 'data.stale-read', cause: write, expected: 42n } });
    expect(violations()).toEqual([['data.stale-read', write, last(), OUTPUT]]);
  });

  it.each(['CVAC', 'CIVAC'] as const)('is not there after DC %s', (operation) => {
    const { machine, violations } = cachedGuest();
    const [pe] = machine.pes;
    pe.write('el10', CACHED, 42n);
    pe.maintenance.byAddress(operation, 'el10', CACHED);
    pe.maintenance.dsb('sy');
    expect([valueOf(pe, UNCACHED), valueOf(pe, DEVICE), valueOf(machine.pes[1], CACHED)]).toEqual([42n, 42n, 42n]);
    expect(violations()).toEqual([]);
  });

  it('blames a clean that stops at the point of unification', () => {
    const { machine, last, violations } = cachedGuest({ caches: { ...CACHES, outer: { ...SHAPE, sets: 16 } } });
    const [pe] = machine.pes;
    pe.write('el10', CACHED, 42n);
    pe.maintenance.byAddress('CVAU', 'el10', CACHED);
    const clean = last();
    expect(valueOf(pe, UNCACHED)).toBe(0n);
    expect(violations()).toEqual([['data.stale-read', clean, last(), OUTPUT]]);
  });

  it('is told where a clean line hides what an uncached alias wrote', () => {
    const { machine, last, violations } = cachedGuest();
    const [pe] = machine.pes;
    pe.read('el10', CACHED);
    pe.write('el10', UNCACHED, 7n);
    const write = last();
    expect(valueOf(pe, CACHED)).toBe(0n);
    expect(violations()).toEqual([['data.stale-read', write, last(), OUTPUT]]);
    pe.maintenance.byAddress('IVAC', 'el10', CACHED);
    pe.maintenance.dsb('sy');
    expect(valueOf(pe, CACHED)).toBe(7n);
  });

  it('is lost where a dirty line is invalidated: the invalidation is to blame', () => {
    const { machine, last, violations } = cachedGuest();
    const [pe] = machine.pes;
    pe.write('el10', CACHED, 42n);
    pe.maintenance.byAddress('IVAC', 'el10', CACHED);
    const invalidation = last();
    expect(valueOf(pe, CACHED)).toBe(0n);
    expect(violations()).toEqual([['data.lost-dirty-line', invalidation, last(), OUTPUT]]);
  });

  it('is lost where an old dirty line is evicted over it: the write that nobody cleaned is to blame', () => {
    const { machine, last, violations } = cachedGuest();
    const [pe] = machine.pes;
    pe.write('el10', CACHED + 8n, 1n);
    const dirty = last();
    pe.write('el10', UNCACHED, 7n);
    takeCacheChoice(machine.caches!, { type: 'evict', from: 0, line: OUTPUT });
    takeCacheChoice(machine.caches!, { type: 'evict', from: 'outer', line: OUTPUT });
    expect(valueOf(pe, UNCACHED)).toBe(0n);
    expect(violations()).toEqual([['data.lost-dirty-line', dirty, last(), OUTPUT]]);
  });

  it('of a device is told until the line is invalidated', () => {
    const { machine, violations } = cachedGuest();
    const [pe] = machine.pes;
    pe.read('el10', CACHED);
    machine.storeByDevice(OUTPUT, Uint8Array.of(9));
    expect(pe.read('el10', CACHED)).toMatchObject({ value: 0n, mismatch: { rule: 'data.stale-read', expected: 9n } });
    pe.maintenance.byAddress('IVAC', 'el10', CACHED);
    expect(valueOf(pe, CACHED)).toBe(9n);
    expect(violations().length).toBe(1);
  });

  it('never is where every access is cacheable, on whatever PE, and lines move and go by themselves', () => {
    const { machine, violations } = cachedGuest();
    const [first, second] = machine.pes;
    for (let i = 0; i < 64; i += 1) {
      const address = CACHED + BigInt((i % 8) * 64);
      (i % 3 === 0 ? second : first).write('el10', address, BigInt(i));
      if (i % 5 === 0) flush(first, machine);
      expect(valueOf(i % 2 === 0 ? second : first, address)).toBe(BigInt(i));
    }
    expect(violations()).toEqual([]);
  });
});

describe('set/way operations', () => {
  it('local PE: the flush runs where the vCPU runs now', () => {
    const { machine, last, violations } = cachedGuest();
    const [first, second] = machine.pes;
    second.write('el10', CACHED, 42n);
    const before = last();
    flush(first, machine);
    expect(valueOf(first, UNCACHED)).toBe(0n);
    const [[rule, cause, exposed, address]] = violations();
    expect([rule, exposed, address]).toEqual(['cache.set-way-not-enough', last(), OUTPUT]);
    expect(cause).toBeGreaterThan(before);
    first.maintenance.byAddress('CIVAC', 'el10', CACHED);
    expect(valueOf(first, UNCACHED)).toBe(42n);
  });

  it('line migration: every PE flushes, and the line moves behind their backs', () => {
    const { machine, last, violations } = cachedGuest();
    const [first, second] = machine.pes;
    first.write('el10', CACHED, 42n);
    flush(second, machine);
    takeCacheChoice(machine.caches!, { type: 'migrate', from: 0, to: 1, line: OUTPUT });
    flush(first, machine);
    expect(valueOf(first, UNCACHED)).toBe(0n);
    expect(violations().map(([rule, , exposed]) => [rule, exposed])).toEqual([['cache.set-way-not-enough', last()]]);
  });

  it('system cache: the line leaves every level that has a number, and stops before memory', () => {
    const { machine, last, violations } = cachedGuest({ caches: { ...CACHES, system: { ...SHAPE, sets: 64 } } });
    const [first, second] = machine.pes;
    first.write('el10', CACHED, 42n);
    flush(first, machine);
    flush(second, machine);
    // Non-cacheable memory passes the system cache by.
    expect(valueOf(first, DEVICE)).toBe(0n);
    expect(violations().map(([rule, , exposed]) => [rule, exposed])).toEqual([['cache.set-way-not-enough', last()]]);
  });

  it('are enough on the PE that wrote, with nothing behind', () => {
    const { machine, violations } = cachedGuest();
    const [pe] = machine.pes;
    pe.write('el10', CACHED, 42n);
    flush(pe, machine);
    expect(valueOf(pe, UNCACHED)).toBe(42n);
    expect(violations()).toEqual([]);
  });

  it('that only invalidate lose a dirty line, and are to blame', () => {
    const { machine, last, violations } = cachedGuest({ caches: { data: SHAPE, instruction: CACHES.instruction } });
    const [pe] = machine.pes;
    pe.write('el10', CACHED, 42n);
    const [first] = allSetWays(1, SHAPE);
    pe.maintenance.bySetWay('ISW', Math.floor(encodeSetWay(first, SHAPE, 64) / 16), 0);
    const operation = last();
    expect(valueOf(pe, CACHED)).toBe(0n);
    expect(violations()).toEqual([['data.lost-dirty-line', operation, last(), OUTPUT]]);
  });
});

describe('instructions that are not what was written last', () => {
  /** Old instructions executed on both PEs, then new ones written. */
  function modified(options: Parameters<typeof cachedGuest>[0] = {}) {
    const made = cachedGuest(options);
    for (const pe of made.machine.pes) pe.fetch('el10', CACHED);
    made.machine.pes[0].write('el10', CACHED, 5n, { bytes: 4 });
    return { ...made, written: made.last() };
  }

  it('without any maintenance: the write is to blame', () => {
    const { machine, written, last, violations } = modified();
    expect(machine.pes[0].fetch('el10', CACHED)).toMatchObject({ value: 0n, mismatch: { rule: 'code.stale-instructions', cause: written, expected: 5n } });
    expect(violations()).toEqual([['code.stale-instructions', written, last(), OUTPUT]]);
  });

  it('with the clean and without the invalidation: the write is to blame', () => {
    const { machine, written, last, violations } = modified();
    const [pe] = machine.pes;
    pe.maintenance.byAddress('CVAU', 'el10', CACHED);
    expect(valueOf(pe, CACHED, true)).toBe(0n);
    expect(violations()).toEqual([['code.stale-instructions', written, last(), OUTPUT]]);
  });

  it('after IC IALLU on one PE: the other one has the old ones', () => {
    const { machine, last, violations } = modified();
    const [first, second] = machine.pes;
    first.maintenance.byAddress('CVAU', 'el10', CACHED);
    first.maintenance.instructions(false);
    const invalidation = last();
    expect(valueOf(first, CACHED, true)).toBe(5n);
    expect(violations()).toEqual([]);
    expect(valueOf(second, CACHED, true)).toBe(0n);
    expect(violations()).toEqual([['code.stale-instructions', invalidation, last(), OUTPUT]]);
  });

  it('invalidated before the clean: fetched again too early', () => {
    const { machine, violations } = modified();
    const [pe] = machine.pes;
    pe.maintenance.byAddress('IVAU', 'el10', CACHED);
    pe.fetch('el10', CACHED);
    pe.maintenance.byAddress('CVAU', 'el10', CACHED);
    expect(valueOf(pe, CACHED, true)).toBe(0n);
    expect(new Set(violations().map(([rule]) => rule))).toEqual(new Set(['code.stale-instructions']));
  });

  it('never are with IDC and DIC, nor after the whole sequence', () => {
    const coherent = modified({ caches: { ...CACHES, idc: true, dic: true } });
    expect(valueOf(coherent.machine.pes[1], CACHED, true)).toBe(5n);
    const { machine, violations } = modified();
    const [first, second] = machine.pes;
    first.maintenance.byAddress('CVAU', 'el10', CACHED);
    first.maintenance.dsb('ish');
    first.maintenance.byAddress('IVAU', 'el10', CACHED);
    first.maintenance.dsb('ish');
    second.isb();
    expect([valueOf(first, CACHED, true), valueOf(second, CACHED, true)]).toEqual([5n, 5n]);
    expect([...violations(), ...coherent.violations()]).toEqual([]);
  });
});

describe('maintenance under way', () => {
  const late = () => 0;

  it('has taken effect after a DSB of loads and stores, and need not have before', () => {
    const { machine, last, violations } = cachedGuest({ choose: late });
    const [pe] = machine.pes;
    pe.write('el10', CACHED, 42n);
    const write = last();
    pe.maintenance.byAddress('CVAC', 'el10', CACHED);
    expect(valueOf(pe, UNCACHED)).toBe(0n);
    pe.maintenance.dsb('ishst');
    expect(valueOf(pe, UNCACHED)).toBe(0n);
    pe.maintenance.dsb('ish');
    expect(valueOf(pe, UNCACHED)).toBe(42n);
    expect(violations().map(([rule, cause]) => [rule, cause])).toEqual([['data.stale-read', write]]);
  });

  it('may take effect at any time, in the order of each line', () => {
    const { machine } = cachedGuest({ choose: late });
    const [pe] = machine.pes;
    pe.write('el10', CACHED, 42n);
    pe.write('el10', CACHED + 64n, 43n);
    for (const operation of ['CVAC', 'IVAC'] as const) pe.maintenance.byAddress(operation, 'el10', CACHED);
    pe.maintenance.byAddress('CVAC', 'el10', CACHED + 64n);
    const [clean, other] = machine.cacheOrder.choices();
    expect(machine.cacheOrder.choices().length).toBe(2);
    expect(() => {
      machine.cacheOrder.take(clean + 1);
    }).toThrow(RangeError);
    machine.cacheOrder.take(other);
    machine.cacheOrder.take(clean);
    expect([valueOf(pe, UNCACHED), valueOf(pe, UNCACHED + 64n)]).toEqual([42n, 43n]);
    expect(machine.cacheOrder.choices()).toEqual([clean + 1]);
  });

  it('comes before a later cacheable access of its PE to the line', () => {
    const { machine } = cachedGuest({ choose: late });
    const [pe] = machine.pes;
    pe.write('el10', CACHED, 1n);
    pe.maintenance.byAddress('CIVAC', 'el10', CACHED);
    pe.write('el10', CACHED, 2n);
    expect([valueOf(pe, UNCACHED), valueOf(pe, CACHED)]).toEqual([1n, 2n]);
    pe.maintenance.dsb('sy');
    expect(valueOf(pe, CACHED)).toBe(2n);
  });

  it('on this PE alone is complete by a DSB of this PE alone, and no other is', () => {
    const { machine } = cachedGuest({ choose: late });
    const [first, second] = machine.pes;
    for (const pe of machine.pes) pe.fetch('el10', CACHED);
    first.write('el10', CACHED, 5n, { bytes: 4 });
    first.maintenance.byAddress('CVAU', 'el10', CACHED);
    first.maintenance.dsb('ish');
    first.maintenance.instructions(true);
    first.maintenance.dsb('nsh');
    expect(valueOf(first, CACHED, true)).toBe(0n);
    first.maintenance.instructions(false);
    first.maintenance.dsb('nsh');
    expect([valueOf(first, CACHED, true), valueOf(second, CACHED, true)]).toEqual([5n, 0n]);
    first.maintenance.dsb('ish');
    expect(valueOf(second, CACHED, true)).toBe(5n);
  });
});

describe('DC ZVA', () => {
  it('stores zeros to its block, and is no operation on Device memory', () => {
    const { machine, heard } = cachedGuest();
    const [pe] = machine.pes;
    for (const offset of [0n, 56n, 64n]) pe.write('el10', CACHED + offset, 7n);
    expect(pe.maintenance.byAddress('ZVA', 'el10', CACHED + 20n)).toMatchObject({ kind: 'done', output: OUTPUT });
    expect(heard.at(-1)).toMatchObject({ type: 'access', access: 'write', address: Number(CACHED), output: OUTPUT, bytes: 64, value: 0n });
    expect([0n, 56n, 64n].map((offset) => valueOf(pe, CACHED + offset))).toEqual([0n, 0n, 7n]);
    expect(pe.maintenance.byAddress('ZVA', 'el10', DEVICE)).toMatchObject({ kind: 'fault', fault: { type: 'alignment' } });
  });
});

describe('entries that conflict', () => {
  /** A page read on PE 1; then a block over it, and nothing is invalidated. */
  function conflicting(options: Parameters<typeof cachedGuest>[0] = {}) {
    // Leaves alone: a table that a walk cache keeps would hide the block.
    const tlb = () => new FiniteTlb({ arrays: [{ name: 'leaves', sets: 1, ways: 8, replacement: 'lru', stages: ['combined', 'stage2'], kind: 'leaf' }] });
    const pes = [0, 1].map(() => ({ registers: {}, tlb: tlb() }));
    const made = cachedGuest({ caches: undefined, pes, ...options }, ({ type }) => type === 'tlbi');
    const other = made.machine.pes[1];
    other.read('el10', CACHED);
    must(made.table.unmap(0, 4 * 4096));
    const gone = made.heard.findIndex((each) => each.type === 'write' && each.level === 3 && each.new[0] === 0) + 1;
    must(made.table.map(0, 2 ** 21, 2 ** 30, {}));
    // Another page of the block, so that the TLB holds it beside the old page.
    other.read('el10', 0x5000n);
    return { ...made, other, gone };
  }

  it('abort, of the stage that they are of, and the judge names the write that was not followed by an invalidation', () => {
    const { other, gone, last, violations } = conflicting();
    const answer = other.read('el10', CACHED);
    expect(answer).toMatchObject({ kind: 'fault', fault: { type: 'tlb-conflict', stage: 2, ipa: Number(CACHED) } });
    expect(violations().find(([rule]) => rule === 'tlb.conflict')).toEqual(['tlb.conflict', gone, last(), Number(CACHED)]);
  });

  it('or the smallest answers, where that is asked for', () => {
    const { other } = conflicting({ conflicts: 'first' });
    expect(other.read('el10', CACHED)).toMatchObject({ kind: 'done', output: OUTPUT });
  });
});

describe('a listener', () => {
  it('that counts has its own numbers for causes, whatever it hears from elsewhere', () => {
    const made = cachedGuest();
    const { machine, judge } = made;
    machine.listener = judge;
    judge.effect({ type: 'isb' });
    machine.pes[0].write('el10', CACHED, 1n);
    const write = judge.events;
    machine.pes[0].read('el10', UNCACHED);
    expect(made.violations()).toEqual([['data.stale-read', write, write + 1, OUTPUT]]);
  });

  it('is told by CTR_EL0 what caches need: nothing where there are none', () => {
    const value = (caches: Parameters<typeof cachedGuest>[0]) => {
      const { identification } = cachedGuest(caches).machine;
      return identification.type === 'register' ? [(identification.value >> 28n) & 3n, identification.value & 15n] : [];
    };
    expect([value({}), value({ caches: { ...CACHES, idc: true } }), value({ caches: undefined })]).toEqual([
      [0n, 4n],
      [1n, 4n],
      [3n, 4n],
    ]);
  });
});

/** HCR_EL2.CD is bit 32, ID bit 33, DC bit 12 (DDI 0487 D24.2, HCR_EL2). */
describe('the controls of caches', () => {
  const HCR = (1n << 31n) | 1n;
  const inMemory = ({ machine }: ReturnType<typeof cachedGuest>): number => {
    const byte = new Uint8Array(1);
    machine.memory.read(OUTPUT, byte);
    return byte[0];
  };

  it.each([
    ['HCR_EL2.DC alone: Write-Back', HCR | (1n << 12n), 0],
    ['HCR_EL2.CD: past the data caches', HCR | (1n << 12n) | (1n << 32n), 7],
    ['HCR_EL2.ID: nothing to data', HCR | (1n << 12n) | (1n << 33n), 0],
    ['stage 1 off: Device', HCR, 7],
  ] as const)('%s', (_, hcr, memory) => {
    const made = cachedGuest();
    const [pe] = made.machine.pes;
    pe.writeRegister('HCR_EL2', hcr);
    pe.isb();
    pe.write('el10', CACHED, 7n);
    expect(inMemory(made)).toBe(memory);
  });

  it('HCR_EL2.ID makes fetches go past the instruction cache, once no TLB entry has the bit as it was', () => {
    const made = cachedGuest();
    const [pe] = made.machine.pes;
    pe.fetch('el10', CACHED);
    made.machine.storeByDevice(OUTPUT, Uint8Array.of(9));
    expect(valueOf(pe, CACHED, true)).toBe(0n);
    pe.writeRegister('HCR_EL2', HCR | (1n << 12n) | (1n << 33n));
    pe.isb();
    expect(valueOf(pe, CACHED, true)).toBe(0n);
    pe.maintenance.tlbi('VMALLS12E1IS');
    expect(valueOf(pe, CACHED, true)).toBe(9n);
  });
});
