import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VmidAllocator, type VmidHolder } from '../src/index.js';
import { bench } from './support.js';

/**
 * Linux arch/arm64/kvm/vmid.c with its own variables: 64-bit ids with the generation above the VMID, one active and one reserved id per CPU, a bitmap.
 */
class NaiveVmids {
  generation: bigint;
  readonly active: bigint[];
  readonly reserved: bigint[];
  map = new Set<bigint>();
  current = 1n;

  constructor(readonly bits: bigint, cpus: number) {
    this.generation = 1n << bits;
    this.active = Array<bigint>(cpus).fill(0n);
    this.reserved = Array<bigint>(cpus).fill(0n);
  }

  index = (id: bigint): bigint => id & ((1n << this.bits) - 1n);
  matches = (id: bigint): boolean => id >> this.bits === this.generation >> this.bits;

  /** kvm_arm_vmid_update. Answers the new id and how often all was flushed. */
  update(id: bigint, cpu: number): { readonly id: bigint; readonly flushes: number } {
    if (this.active[cpu] !== 0n && this.matches(id)) {
      this.active[cpu] = id;
      return { id, flushes: 0 };
    }
    const before = this.generation;
    const now = this.matches(id) ? id : this.fresh(id);
    this.active[cpu] = now;
    return { id: now, flushes: this.generation === before ? 0 : 1 };
  }

  clearActive(cpu: number): void {
    this.active[cpu] = 1n << this.bits;
  }

  fresh(id: bigint): bigint {
    if (id !== 0n) {
      const kept = this.generation | this.index(id);
      const hits = this.reserved.map((each, cpu) => (each === id ? cpu : -1)).filter((cpu) => cpu >= 0);
      hits.forEach((cpu) => { this.reserved[cpu] = kept; });
      if (hits.length > 0) return kept;
      if (!this.map.has(this.index(id))) {
        this.map.add(this.index(id));
        return kept;
      }
    }
    let vmid = this.firstZero(this.current);
    if (vmid === undefined) {
      this.generation += 1n << this.bits;
      this.flush();
      vmid = this.firstZero(1n)!;
    }
    this.map.add(vmid);
    this.current = vmid;
    return this.generation | vmid;
  }

  firstZero(from: bigint): bigint | undefined {
    for (let vmid = from; vmid < 1n << this.bits; vmid += 1n) if (!this.map.has(vmid)) return vmid;
    return undefined;
  }

  flush(): void {
    this.map = new Set();
    for (const cpu of this.active.keys()) {
      const was = this.active[cpu];
      this.active[cpu] = 0n;
      const id = was === 0n ? this.reserved[cpu] : was;
      this.map.add(this.index(id));
      this.reserved[cpu] = id;
    }
  }
}

const fresh = (): VmidHolder => ({ vmid: 0, generation: 0 });

describe('VMIDs', () => {
  it('start at 1, and a VM keeps its own while the generation lasts', () => {
    const vmids = new VmidAllocator(8);
    const [a, b] = [fresh(), fresh()];
    expect([vmids.use(a, 0), vmids.use(b, 0), vmids.use(a, 1)].map(({ vmid }) => vmid)).toEqual([1, 2, 1]);
  });

  it.each([8, 16])('of %i bits roll over once all but VMID 0 are used, and running VMs keep theirs', (bits) => {
    const vmids = new VmidAllocator(bits);
    const running = fresh();
    vmids.use(running, 1);
    let rollovers = 0;
    for (let i = 0; i < 2 ** bits - 2; i++) {
      rollovers += vmids.use(fresh(), 0).rollover ? 1 : 0;
    }
    expect(rollovers).toBe(0);
    const next = fresh();
    expect(vmids.use(next, 0).rollover).toBe(true);
    expect(vmids.generation).toBe(2);
    expect(vmids.use(running, 1)).toEqual({ vmid: 1, rollover: false });
    expect(next.vmid).not.toBe(1);
  });

  it('of a VM that has left its PE are not kept', () => {
    const vmids = new VmidAllocator(2);
    const [gone, stays] = [fresh(), fresh()];
    vmids.use(gone, 0);
    vmids.use(stays, 1);
    vmids.leave(0);
    vmids.use(fresh(), 2);
    const next = fresh();
    expect(vmids.use(next, 2)).toEqual({ vmid: 1, rollover: true });
    expect(vmids.use(stays, 1).vmid).toBe(2);
  });

  it('of a PE that runs on through two rollovers without entering anew are kept through both', () => {
    const vmids = new VmidAllocator(2);
    const running = fresh();
    vmids.use(running, 1);
    let rollovers = 0;
    while (rollovers < 2) {
      rollovers += vmids.use(fresh(), 0).rollover ? 1 : 0;
    }
    expect(vmids.use(running, 1)).toEqual({ vmid: 1, rollover: false });
  });

  it.each([3, 4, 8])('of %i bits go as those of a model with the variables of vmid.c, whatever is entered and left', (bits) => {
    const step = fc.tuple(fc.integer({ min: 0, max: 11 }), fc.integer({ min: 0, max: 2 }), fc.boolean());
    const law = fc.property(fc.array(step, { maxLength: bits === 8 ? 300 : 60 }), (steps) => {
      const [ours, naive] = [new VmidAllocator(bits), new NaiveVmids(BigInt(bits), 3)];
      const holders = Array.from({ length: 12 }, fresh);
      const ids = holders.map(() => 0n);
      for (const [vm, pe, leaves] of steps) {
        if (leaves) {
          ours.leave(pe);
          naive.clearActive(pe);
        } else {
          const expected = naive.update(ids[vm], pe);
          ids[vm] = expected.id;
          const { vmid, rollover } = ours.use(holders[vm], pe);
          expect({ vmid, rollover, generation: holders[vm].generation }).toEqual({
            vmid: Number(naive.index(expected.id)), rollover: expected.flushes === 1, generation: Number(expected.id >> BigInt(bits)),
          });
        }
      }
    });
    fc.assert(law, { numRuns: 200, seed: 7 });
  });
});

describe('a vCPU that is loaded', () => {
  it('invalidates the local TLB where another vCPU of its VM ran last, and every VMID at a rollover', () => {
    const vmids = new VmidAllocator(2);
    const [on, other] = [bench({ vmids }), bench({ vmids })];
    const second = on.vm.addVcpu();
    on.vm.load(on.vcpu, 0);
    expect(on.sink.tlbi).toEqual({ VMALLE1: 1 });
    on.vm.load(on.vcpu, 0);
    on.vm.load(second, 1);
    expect(on.sink.tlbi).toEqual({ VMALLE1: 2 });
    on.vm.load(second, 0);
    expect(on.sink.tlbi).toEqual({ VMALLE1: 3 });
    [1, 2].forEach(() => vmids.use(fresh(), 0));
    on.vm.put(1);
    other.vm.load(other.vcpu, 0);
    expect(other.sink.tlbi).toEqual({ VMALLE1: 1, ALLE1IS: 1 });
  });

  it('tells the tables in force under their VMIDs, and at a rollover those that are no more', () => {
    const vmids = new VmidAllocator(2);
    const benches = Array.from({ length: 4 }, () => bench({ vmids }));
    const contexts = (at: number): string[] =>
      benches[at].sink.effects.flatMap((each) => (each.type === 'context-installed' || each.type === 'context-retired' ? [`${each.type} ${each.vmid}`] : []));
    benches.forEach(({ vm, vcpu }) => vm.load(vcpu, 0));
    expect([0, 1, 2, 3].map(contexts)).toEqual([['context-installed 1', 'context-retired 1'], ['context-installed 2', 'context-retired 2'], ['context-installed 3'], ['context-installed 1']]);
    // The last one ran on PE 0 until the rollover, and keeps VMID 3.
    expect(benches[2].vm.load(benches[2].vcpu, 1)).toBe(3);
  });

  it('at virtual EL2 has a VMID of its own where the VM has one, and each invalidation is under both', () => {
    const on = bench({ virtualEl2Vmid: true });
    expect([on.vm.load(on.vcpu, 0), on.vm.load(on.vcpu, 0, 'virtual-el2')]).toEqual([1, 2]);
    expect([on.vm.vmid, on.vm.el2Vmid]).toEqual([1, 2]);
    on.sink.reset();
    on.vm.flushVmid();
    expect(on.sink.effects.filter(({ type }) => type === 'tlbi')).toEqual([1, 2].map((vmid) => ({ type: 'tlbi', op: 'VMALLS12E1IS', vmid })));
    const shared = bench();
    expect([shared.vm.load(shared.vcpu, 0), shared.vm.load(shared.vcpu, 0, 'virtual-el2')]).toEqual([1, 1]);
  });
});
