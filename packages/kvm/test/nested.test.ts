import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import type { NestedGuest, NestedState } from '@granule/contract';
import type { Granule } from '@granule/geometry';
import { createTableArena } from '@granule/memory';
import { newLookup } from '@granule/pgtable';
import { describe, expect, it } from 'vitest';
import { createVm, getDirtyLog, guestAbort, kernelProfile, linuxCaches, notifierUnmap, setMemoryRegion, type Vcpu, VmidAllocator } from '../src/index.js';
import { bench, type Bench, esr, G, hostOf, K, M, PERMISSION, PLAIN, TRANSLATION, valueOf, withMemory } from './support.js';

/** DDI 0487 VTCR_EL2: T0SZ, SL0, TG0, PS = 48 bits; a start level of 1 (4K) or 2 with one entry table, for the input sizes of the tables below. */
const VTCR: Readonly<Record<Granule, bigint>> = {
  '4K': (5n << 16n) | (1n << 6n) | 25n,
  '16K': (5n << 16n) | (2n << 14n) | (1n << 6n) | 28n,
  '64K': (5n << 16n) | (1n << 14n) | (1n << 6n) | 28n,
};
const SHIFT: Readonly<Record<Granule, number>> = { '4K': 12, '16K': 14, '64K': 16 };
const TABLES = 0x8000_0000;
const NESTED_IPA = 0x2000_0000;

/** A guest hypervisor's stage 2 at its IPAs: descriptors by address, zero where none was written. */
class GuestPages {
  readonly words = new Map<number, bigint>();

  read(ipa: number, into: Uint8Array): boolean {
    new DataView(into.buffer, into.byteOffset).setBigUint64(0, this.words.get(ipa) ?? 0n, true);
    return true;
  }

  /** Maps one address by a block or page of this level, with these bits beside the output address: AF, S2AP, XN. Tables lie one after the other from `root`. */
  map(granule: Granule, root: number, ipa: number, level: number, output: number, bits = 0x4c0n): void {
    const shift = SHIFT[granule];
    const start = granule === '4K' ? 1 : 2;
    for (let at = start, table = root; ; at++, table += 2 ** 16) {
      const entries = 2 ** (shift - 3);
      const number = Math.floor(ipa / 2 ** (shift + (shift - 3) * (3 - at)));
      const entry = table + 8 * (at === start ? number : number % entries);
      if (at === level) {
        this.words.set(entry, BigInt(output) | bits | (level === 3 ? 3n : 1n));
        return;
      }
      this.words.set(entry, BigInt(table + 2 ** 16) | 3n);
    }
  }
}

interface NestedBench extends Bench {
  readonly pages: GuestPages;
  readonly vcpus: readonly Vcpu[];
}

interface BenchOptions {
  readonly granule?: Granule;
  readonly vcpus?: number;
  readonly guest?: Partial<NestedGuest>;
}

function nestedBench({ granule = '4K', vcpus = 1, guest = {} }: BenchOptions = {}): NestedBench {
  const pages = new GuestPages();
  const machine: NestedGuest = { backend: armv8, paBits: 48, ipaLimit: 48, hostGranule: granule, features: { ...PLAIN, ttl: true, tlbirange: true }, ...guest };
  const on = bench({ granule, nested: { guest: machine, memory: pages } });
  const all = [on.vcpu, ...Array.from({ length: vcpus - 1 }, () => on.vm.addVcpu())];
  all.forEach((vcpu) => valueOf(on.vm.nested!.initVcpu(vcpu)));
  return { ...on, pages, vcpus: all };
}

const state = (vmid: number, granule: Granule = '4K', root = TABLES, stage2 = true): NestedState => ({
  vttbr: (BigInt(vmid) << 48n) | BigInt(root), vtcr: VTCR[granule], stage2,
});

const enter = ({ vm }: Bench, vcpu: Vcpu, of: NestedState): void => vm.nested!.enter(vcpu, of, vcpu.id);
const fault = ({ vm }: Bench, vcpu: Vcpu, ipa: number, syndrome = esr(TRANSLATION + 3)) => guestAbort(vm, vcpu, { esr: syndrome, far: 0n, ipa });
const names = (told: readonly string[]): readonly string[] => told.map((text) => text.split(' ')[0]);

/** Level and output of a shadow's leaf; undefined: there is none. */
function leaf({ vm }: Bench, mmu: number, ipa: number): { level: number; output: number; software: number; write: boolean; px: boolean } | undefined {
  const at = newLookup();
  const { table, format } = vm.nested!.shadows[mmu - 1];
  if (!table.lookup(ipa, at) || at.output === 0) {
    return undefined;
  }
  const { software, write, px } = format.decodeLeaf(at.lo, at.hi, at.level);
  return { level: at.level, output: at.output, software, write, px };
}

describe('vCPUs with a virtual EL2', () => {
  it('bring two shadows each, with the input size that the guest hypervisor sees as PARange', () => {
    const on = nestedBench({ vcpus: 3 });
    expect(on.vm.nested!.shadows.map(({ mmu, format }) => [mmu, format.geometry.iaBits])).toEqual([1, 2, 3, 4, 5, 6].map((mmu) => [mmu, 48]));
    expect(names(on.told())).toEqual(Array.from({ length: 6 }, () => 's2_init'));
    valueOf(on.vm.nested!.initVcpu(on.vcpu));
    expect(on.vm.nested!.shadows).toHaveLength(6);
  });

  it("run the VM's own stage 2 at virtual EL2, and a shadow with its own VMID below", () => {
    const on = nestedBench();
    expect(on.vm.nested!.load(on.vcpu, 0)).toBe(1);
    enter(on, on.vcpu, state(7));
    expect(on.vm.nested!.stage2Of(on.vcpu)).toMatchObject({ mmu: 1, vmid: 2 });
    on.vm.nested!.leave(on.vcpu);
    expect(on.vm.nested!.stage2Of(on.vcpu)).toBe(on.vm);
  });

  it('are not there on 32-bit Arm, in words', () => {
    const pages = new GuestPages();
    const guest: NestedGuest = { backend: armv7Lpae, paBits: 40, ipaLimit: 40, hostGranule: '4K', features: { ...PLAIN, ttl: false, tlbirange: false } };
    const features = { ...PLAIN, ...armv7Lpae.registers.features({}), paBits: 40 };
    const made = createVm({
      backend: armv7Lpae, kernel: kernelProfile('5.4'), host: { ...hostOf('4K', features), vaBits: 39 }, memory: createTableArena({ pageShift: 12 }),
      hostMemory: bench().host, vmids: new VmidAllocator(8), nested: { guest, memory: pages },
    });
    expect(made).toMatchObject({ kind: 'not-modelled', id: 'nested.not-supported' });
  });
});

describe('contexts', () => {
  it('of one VMID and two tables are two, CnP is not looked at, and a third guest takes the first over', () => {
    const on = nestedBench();
    const found = (of: NestedState): string => {
      on.told();
      enter(on, on.vcpu, of);
      return on.told().find((text) => text.startsWith('lookup_s2_mmu_ret'))!;
    };
    const [a, b] = [state(1), state(1, '4K', TABLES + G)];
    expect([a, b, a, { ...b, vttbr: b.vttbr | 1n }, state(2), a].map(found).map((text) => text.split(' ')[1])).toEqual(['0x0', '0x0', '0x1', '0x2', '0x0', '0x0']);
  });

  it('a context that is taken over is emptied before the next entry, by whichever vCPU comes first', () => {
    const on = nestedBench({ vcpus: 2 });
    withMemory(on);
    on.pages.map('4K', TABLES, NESTED_IPA, 3, G);
    for (const vmid of [1, 2, 3, 4]) {
      enter(on, on.vcpu, state(vmid));
      valueOf(fault(on, on.vcpu, NESTED_IPA));
    }
    enter(on, on.vcpu, state(5));
    enter(on, on.vcpus[1], state(5));
    expect(on.vm.nested!.contextOf(on.vcpus[1])).toMatchObject({ index: 0, references: 2, pendingUnmap: true });
    expect(leaf(on, 1, NESTED_IPA)).toBeDefined();
    on.vm.nested!.beforeEntry(on.vcpus[1]);
    expect(leaf(on, 1, NESTED_IPA)).toBeUndefined();
    on.told();
    on.vm.nested!.beforeEntry(on.vcpu);
    expect(on.told()).toEqual([]);
  });

  it('a vCPU that is scheduled out keeps its context and does not look for it again', () => {
    const on = nestedBench();
    enter(on, on.vcpu, state(1));
    on.told();
    on.vm.nested!.put(on.vcpu, { keep: true });
    on.vm.nested!.load(on.vcpu, 1);
    expect(names(on.told())).toEqual(['flush_cpu_context']);
    on.vm.nested!.put(on.vcpu);
    on.vm.nested!.load(on.vcpu, 1);
    expect(names(on.told())).toEqual(['lookup_s2_mmu', 'lookup_s2_mmu_ret']);
  });
});

describe('a fault of a nested guest', () => {
  /** Host pages with transparent huge pages of a PMD; guest blocks: the smaller of the two, rounded down to a size of the host. */
  it.each([
    ['4K', '4K', 3, 4 * K], ['4K', '4K', 2, 2 * M], ['4K', '4K', 1, 2 * M],
    ['4K', '16K', 3, 4 * K], ['4K', '16K', 2, 2 * M], ['4K', '64K', 3, 4 * K], ['4K', '64K', 2, 2 * M],
    ['16K', '16K', 3, 16 * K], ['16K', '16K', 2, 32 * M], ['16K', '64K', 3, 16 * K], ['16K', '64K', 2, 32 * M],
    ['64K', '64K', 3, 64 * K], ['64K', '64K', 2, 512 * M],
  ] as const)('on a %s host with a %s table of the guest hypervisor, level %i: %i bytes', (host, granule, level, bytes) => {
    const on = nestedBench({ granule: host });
    const pmd = { '4K': 2 * M, '16K': 32 * M, '64K': 512 * M }[host];
    withMemory(on, { bytes: G, leafBytes: pmd, physical: 4 * G });
    on.pages.map(granule, TABLES, NESTED_IPA, level, G);
    enter(on, on.vcpu, state(1, granule));
    expect(valueOf(fault(on, on.vcpu, NESTED_IPA))).toEqual({ did: 'mapped', address: NESTED_IPA, bytes });
    expect(leaf(on, 1, NESTED_IPA)).toMatchObject({ output: 4 * G + (level === 1 ? NESTED_IPA % G : 0), software: level, write: true });
  });

  it("gets no more than the guest hypervisor's permissions, and each privilege its own", () => {
    const on = nestedBench();
    withMemory(on);
    on.pages.map('4K', TABLES, NESTED_IPA, 3, G, 0x440n | (1n << 53n));
    enter(on, on.vcpu, state(1));
    on.told();
    valueOf(fault(on, on.vcpu, NESTED_IPA, esr(TRANSLATION + 3, { fetch: true })));
    expect(on.told().find((text) => text.startsWith('s2_map'))).toContain('read+el0+normal+3');
    expect(leaf(on, 1, NESTED_IPA)).toMatchObject({ write: false, px: false });
  });

  it('that its hypervisor denies or does not map goes to it, with the level of its own entry', () => {
    const on = nestedBench();
    withMemory(on);
    on.pages.map('4K', TABLES, NESTED_IPA, 2, G, 0x440n);
    enter(on, on.vcpu, state(1));
    valueOf(fault(on, on.vcpu, NESTED_IPA + 0x5000));
    const write = esr(PERMISSION + 3, { write: true });
    expect(valueOf(fault(on, on.vcpu, NESTED_IPA + 0x5000, write))).toEqual({ did: 'forwarded', esr: write - 1n });
    expect(on.vm.nested!.stage2Of(on.vcpu)).toBe(on.vm);
    enter(on, on.vcpu, state(1));
    on.told();
    expect(valueOf(fault(on, on.vcpu, 3 * G))).toMatchObject({ did: 'forwarded' });
    expect(names(on.told())).toEqual(['walk_nested_s2', 'kvm_inject_nested_exception']);
  });

  it('whose hypervisor has its stage 2 off is mapped one to one, unlimited and without a level', () => {
    const on = nestedBench();
    withMemory(on);
    enter(on, on.vcpu, state(3, '4K', TABLES, false));
    on.told();
    expect(valueOf(fault(on, on.vcpu, G + 0x3000))).toEqual({ did: 'mapped', address: G, bytes: 2 * M });
    expect(leaf(on, 1, G)).toMatchObject({ output: 2 * G, software: 0 });
    expect(names(on.told())).not.toContain('walk_nested_s2');
  });

  it("on no memory of the VM's is MMIO at the VM's IPA", () => {
    const on = nestedBench();
    on.pages.map('4K', TABLES, NESTED_IPA, 3, 0x900_0000);
    enter(on, on.vcpu, state(1));
    const handled = guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 3, { write: true, sas: 2 }), far: 0x10n, ipa: NESTED_IPA });
    expect(valueOf(handled)).toEqual({ did: 'mmio', address: 0x900_0010, write: true, bytes: 4 });
  });

  it('that only takes a permission of the host relaxes the leaf and leaves its level', () => {
    const on = nestedBench();
    withMemory(on, { leafBytes: 4 * K });
    on.pages.map('4K', TABLES, NESTED_IPA, 2, G);
    enter(on, on.vcpu, state(1));
    valueOf(fault(on, on.vcpu, NESTED_IPA));
    expect(leaf(on, 1, NESTED_IPA)).toMatchObject({ px: false, software: 2 });
    expect(valueOf(fault(on, on.vcpu, NESTED_IPA, esr(PERMISSION + 3, { fetch: true })))).toEqual({ did: 'relaxed', address: NESTED_IPA });
    expect(leaf(on, 1, NESTED_IPA)).toMatchObject({ px: true, software: 2 });
  });
});

/** Two contexts of VMID 1 and one of VMID 2, each with a page that the guest hypervisor maps by a 2 MiB block. */
function threeContexts(): NestedBench {
  const on = nestedBench({ vcpus: 2 });
  withMemory(on, { leafBytes: 4 * K });
  for (const root of [TABLES, TABLES + G]) {
    on.pages.map('4K', root, NESTED_IPA, 2, G);
  }
  for (const of of [state(1), state(1, '4K', TABLES + G), state(2)]) {
    enter(on, on.vcpu, of);
    valueOf(fault(on, on.vcpu, NESTED_IPA + 0x1000, esr(TRANSLATION + 3, { write: true })));
  }
  on.told();
  on.sink.reset();
  return on;
}
const there = (on: Bench): readonly boolean[] => [1, 2, 3].map((mmu) => leaf(on, mmu, NESTED_IPA + 0x1000) !== undefined);

describe('a TLBI of the guest hypervisor', () => {
  it.each([
    ['IPAS2E1IS', BigInt(NESTED_IPA / 4096 + 1), [false, false, true]],
    ['IPAS2E1IS', BigInt(NESTED_IPA / 4096 + 1) | (7n << 44n), [false, false, true]],
    ['IPAS2E1IS', BigInt(NESTED_IPA / 4096 + 2) | (7n << 44n), [true, true, true]],
    ['VMALLS12E1IS', 0n, [false, false, true]],
    ['ALLE1', 0n, [false, false, false]],
    ['RIPAS2E1IS', (1n << 46n) | BigInt(NESTED_IPA / 4096), [false, false, true]],
    ['VMALLE1IS', 0n, [true, true, true]],
  ] as const)('%s %s takes what its scope says, in every context of the VMID', (name, operand, left) => {
    const on = threeContexts();
    valueOf(on.vm.nested!.tlbi(state(1), name, operand));
    expect(there(on)).toEqual(left);
  });

  it('of stage 1 goes to the hardware under the VMID of each of them', () => {
    const on = threeContexts();
    valueOf(on.vm.nested!.tlbi(state(1), 'VMALLE1', 0n));
    const sent = on.sink.effects.filter((effect) => effect.type === 'tlbi').map(({ op, vmid }) => [op, vmid]);
    expect(sent).toEqual([['VMALLE1IS', on.vm.nested!.shadows[0].vmid], ['VMALLE1IS', on.vm.nested!.shadows[1].vmid]]);
  });

  it('that the machine of the guest does not have is refused', () => {
    const on = nestedBench({ guest: { features: { ...PLAIN, tlbirange: false } } });
    expect(on.vm.nested!.tlbi(state(1), 'RIPAS2E1IS', 0n)).toMatchObject({ kind: 'refused', id: 'tlbi.undefined' });
  });
});

describe('what the host does', () => {
  it('takes memory away: every shadow is emptied whole, wherever it maps the page, and its TLB entries go under its own VMID', () => {
    const on = threeContexts();
    notifierUnmap(on.vm, 0x7f00_0000_0000, 0x7f00_0000_1000);
    expect(there(on)).toEqual([false, false, false]);
    const vmids = on.sink.effects.flatMap((effect) => (effect.type === 'write' ? [...(effect.before ?? []), ...(effect.after ?? [])] : [effect]))
      .flatMap((effect) => (effect.type === 'tlbi' && effect.op === 'IPAS2E1IS' ? [effect.vmid] : []));
    expect([...new Set(vmids)].sort()).toEqual(on.vm.nested!.shadows.slice(0, 3).map(({ vmid }) => vmid).sort());
  });

  it('deletes a slot: the same', () => {
    const on = threeContexts();
    valueOf(setMemoryRegion(on.vm, { slot: 0, ipa: G, size: 0, hva: 0x7f00_0000_0000 }));
    expect(there(on)).toEqual([false, false, false]);
  });

  it('logs dirty pages: shadows are write-protected, and a write of the nested guest marks the page of the VM', () => {
    const on = threeContexts();
    valueOf(setMemoryRegion(on.vm, { slot: 0, ipa: G, size: 64 * M, hva: 0x7f00_0000_0000, logDirty: true }));
    expect([1, 2, 3].map((mmu) => leaf(on, mmu, NESTED_IPA + 0x1000)?.write)).toEqual([false, false, false]);
    valueOf(fault(on, on.vcpu, NESTED_IPA + 0x1000, esr(PERMISSION + 3, { write: true })));
    expect(valueOf(getDirtyLog(on.vm, 0)).list()).toEqual([1]);
  });

  it('cleans what shadows map when the guest works by set/way', () => {
    const on = threeContexts();
    on.vcpu.tvm = false;
    linuxCaches.setWay(on.vm, on.vcpu, 0n);
    expect(on.sink.cmo['dc-civac']).toBe(3);
  });
});
