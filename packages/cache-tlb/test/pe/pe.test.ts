import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import type { AttributeRequest, Effect, Registers, TrapHandler } from '@granule/contract';
import { stage2Geometry, tableGeometry } from '@granule/geometry';
import { createTableArena, SparseMemory } from '@granule/memory';
import { createPageTable, newLookup, type GranulePageTable } from '@granule/pgtable';
import { describe, expect, it } from 'vitest';
import { FiniteTlb, Machine, type MachineOptions, type PeAnswer } from '../../src/index.js';
import { must } from '../tlb/support.js';

const PAGE = 4096;
const ARENA = 2 ** 32;
const FEATURES = { paBits: 48, haf: true, hdbs: true } as const;
const SHAPE = { sets: 4, ways: 2, replacement: 'lru' } as const;
const CACHES = { data: SHAPE, instruction: { ...SHAPE, index: 'physical' }, outer: { ...SHAPE, sets: 16 } } as const;
const FINITE = {
  arrays: [
    { name: 'L1', sets: 1, ways: 4, replacement: 'lru', stages: ['stage1', 'combined'], kind: 'leaf' },
    { name: 'walk', sets: 1, ways: 4, replacement: 'lru', stages: ['stage1', 'combined'], kind: 'table' },
  ],
} as const;

interface Guest {
  readonly machine: Machine;
  readonly table: GranulePageTable;
  readonly heard: Effect[];
}

/** Stage 2 alone, of 4K pages; its tables reach the machine through PE 0. */
function guest(options: Partial<MachineOptions> = {}, ha = false): Guest {
  const memory = new SparseMemory();
  must(memory.addZeroed(0, 2 ** 33));
  const heard: Effect[] = [];
  const pes = [{ registers: {} }, { registers: {} }];
  const machine = new Machine({ backend: armv8, features: FEATURES, memory, pes, listener: { effect: (each) => heard.push(each) }, ...options });
  const format = must(armv8.format('s2', { geometry: must(stage2Geometry({ granule: '4K', ipaBits: 40 })), features: FEATURES }));
  const arena = createTableArena({ pageShift: 12, base: ARENA, maxPages: 32, initialPages: 32 });
  const table = must(createPageTable({ format, memory: arena, sink: machine.pes[0].tables(format), coherence: { fwb: true, dic: true } }));
  const { vtcr, vttbr } = must(armv8.registers.encodeStage2({ geometry: format.geometry, features: FEATURES, root: table.root, vmid: 1, ha }));
  const registers: Registers = { HCR_EL2: (1n << 31n) | (1n << 12n) | 1n, VTCR_EL2: vtcr, VTTBR_EL2: vttbr };
  for (const pe of machine.pes) for (const [name, value] of Object.entries(registers)) pe.writeRegister(name, value);
  heard.length = 0;
  return { machine, table, heard };
}

function map(table: GranulePageTable, ia: number, output: number, attributes: AttributeRequest = {}): void {
  must(table.map(ia, PAGE, output, { read: true, write: true, px: true, ux: true, memory: 'normal', ...attributes }));
}

const at = (answer: PeAnswer) => (answer.kind === 'done' ? answer.output : answer.kind === 'fault' ? answer.fault.type : answer.kind);

describe('an access', () => {
  it('goes where the tables say, and moves bytes through the caches', () => {
    const { machine, table } = guest({ caches: CACHES });
    map(table, 0, 0x10_0000);
    const [first, second] = machine.pes;
    expect(first.write('el10', 8n, 0x1122n, { bytes: 2 })).toMatchObject({ kind: 'done', output: 0x10_0008, ipa: 8 });
    expect(second.read('el10', 8n)).toMatchObject({ kind: 'done', value: 0x1122n });
    const bytes = new Uint8Array(1);
    machine.memory.read(0x10_0008, bytes);
    expect(bytes[0]).toBe(0);
    machine.pes[0].maintenance.byAddress('CIVAC', 'el10', 8n);
    machine.memory.read(0x10_0008, bytes);
    expect(bytes[0]).toBe(0x22);
  });

  it('fetches what lies at the point of unification, until software cleans and invalidates', () => {
    const { machine, table } = guest({ caches: CACHES });
    map(table, 0, 0x10_0000);
    const [pe] = machine.pes;
    pe.write('el10', 0n, 0xd503_201fn, { bytes: 4 });
    expect(pe.fetch('el10', 0n)).toMatchObject({ value: 0n });
    pe.maintenance.byAddress('CVAU', 'el10', 0n);
    expect(pe.fetch('el10', 0n)).toMatchObject({ value: 0n });
    pe.maintenance.byAddress('IVAU', 'el10', 0n);
    expect(pe.fetch('el10', 0n)).toMatchObject({ value: 0xd503_201fn });
  });

  it('tells its faults, and the listener hears of each', () => {
    const { machine, table, heard } = guest();
    map(table, 0, 0x10_0000, { write: false });
    heard.length = 0;
    expect(machine.pes[1].write('el10', 0n, 1n)).toMatchObject({ kind: 'fault', fault: { type: 'permission', stage: 2, level: 3, ipa: 0 } });
    expect(machine.pes[1].read('el10', 0x5000n)).toMatchObject({ kind: 'fault', fault: { type: 'translation', ipa: 0x5000 } });
    expect(heard.map((each) => [each.type, 'pe' in each ? each.pe : -1])).toEqual([
      ['fault', 1],
      ['fault', 1],
    ]);
  });

  it('refuses what it cannot be', () => {
    const { machine } = guest();
    expect(machine.pes[0].read('el10', 0xffcn)).toMatchObject({ kind: 'refused', id: 'pe.size' });
    expect(machine.pes[0].read('pl10', 0n)).toMatchObject({ kind: 'refused', id: 'pe.regime' });
  });

  it('counts what it costs: a walk, then a hit', () => {
    const { machine, table } = guest({ pes: [{ registers: {}, tlb: new FiniteTlb(FINITE) }] });
    map(table, 0, 0x10_0000);
    const cost = () => {
      const answer = machine.pes[0].read('el10', 0n);
      return 'cost' in answer ? [answer.cost.tlbHits, answer.cost.tlbMisses, answer.cost.fetches] : [];
    };
    expect(cost()).toEqual([0, 1, 3]);
    expect(cost()).toEqual([1, 0, 0]);
    for (let page = 1; page <= 4; page += 1) {
      map(table, page * PAGE, 0x10_0000);
      machine.pes[0].read('el10', BigInt(page * PAGE));
    }
    expect(cost()).toEqual([0, 1, 3]);
  });

  it('answers by the TLB until an invalidation', () => {
    const { machine, table } = guest();
    map(table, 0, 0x10_0000);
    // A neighbour, so that the table stays.
    map(table, PAGE, 0x10_0000);
    const [, other] = machine.pes;
    expect(at(other.read('el10', 0n))).toBe(0x10_0000);
    must(table.unmap(0, PAGE, { tlbi: 'none' }));
    expect(at(other.read('el10', 0n))).toBe(0x10_0000);
    machine.pes[0].maintenance.tlbi('VMALLS12E1');
    expect(at(other.read('el10', 0n))).toBe(0x10_0000);
    machine.pes[0].maintenance.tlbi('VMALLS12E1IS');
    expect(at(other.read('el10', 0n))).toBe('translation');
    expect(machine.pes[0].maintenance.tlbi('VAE9')).toMatchObject({ kind: 'refused', id: 'tlbi.unknown' });
  });
});

describe('hardware access flag and dirty state', () => {
  it('are written to memory, and told', () => {
    const { machine, table, heard } = guest({}, true);
    map(table, 0, 0x10_0000, { af: false });
    heard.length = 0;
    expect(at(machine.pes[1].read('el10', 0n))).toBe(0x10_0000);
    expect(machine.pes[1].counts.updates).toBe(1);
    const found = newLookup();
    table.lookup(0, found);
    const [update] = heard;
    expect(update).toMatchObject({ type: 'write', pe: 1, level: 3, index: 0, count: 1, address: 0, old: Uint32Array.of(found.lo, found.hi) });
    const word = { lo: 0, hi: 0 };
    machine.readDescriptor(0, update.type === 'write' ? update.table : 0, word);
    expect(word).toEqual({ lo: found.lo + (1 << 10), hi: found.hi });
    expect(machine.pes[1].read('el10', 0n)).toMatchObject({ cost: { updates: 0, tlbHits: 1 } });
  });
});

describe('the trap handler', () => {
  const answers = (answer: ReturnType<TrapHandler['trap']>): TrapHandler => ({ trap: () => answer });

  it('maps, and the access is made again', () => {
    const made = guest();
    const traps: string[] = [];
    made.machine.handler = {
      trap(pe, trap) {
        traps.push(`${pe} ${trap.kind === 'abort' ? trap.fault.type : trap.name}`);
        if (trap.kind === 'abort') map(made.table, 0x3000, 0x20_0000);
        return { kind: 'retry' };
      },
    };
    expect(at(made.machine.pes[1].read('el10', 0x3010n))).toBe(0x20_0010);
    expect(traps).toEqual(['1 translation']);
  });

  it('emulates, or leaves the fault to the guest', () => {
    expect(guest({ handler: answers({ kind: 'skip', value: 7n }) }).machine.pes[0].read('el10', 0n)).toMatchObject({ kind: 'skipped', value: 7n });
    expect(guest({ handler: answers({ kind: 'deliver' }) }).machine.pes[0].read('el10', 0n)).toMatchObject({ kind: 'fault' });
    expect(guest({ handler: answers({ kind: 'retry' }) }).machine.pes[0].read('el10', 0n)).toMatchObject({ kind: 'not-modelled', id: 'pe.stuck' });
  });

  it('takes set/way, TLBI and register writes of EL1 where HCR traps them', () => {
    const made = guest({ caches: CACHES });
    const traps: string[] = [];
    made.machine.handler = {
      trap(_, trap) {
        traps.push(trap.kind === 'operation' ? trap.name : trap.kind);
        return { kind: 'skip' };
      },
    };
    const [pe] = made.machine.pes;
    const trapping = (bits: bigint): void => pe.writeRegister('HCR_EL2', (1n << 31n) | bits | 1n);
    pe.maintenance.bySetWay('CISW', 0, 0, 'el1');
    trapping((1n << 22n) | (1n << 25n) | (1n << 26n));
    pe.maintenance.bySetWay('CISW', 0, 0, 'el1');
    pe.maintenance.tlbi('VMALLE1', {}, 'el1');
    pe.maintenance.guestRegister('TTBR0_EL1', 5n);
    expect(traps).toEqual(['CISW', 'VMALLE1', 'TTBR0_EL1']);
    expect(pe.registers['TTBR0_EL1']).toBeUndefined();
  });
});

describe('any backend', () => {
  it('translates for an ARMv7 guest, whose VMID is invalidated whole', () => {
    const memory = new SparseMemory();
    must(memory.addZeroed(0, 2 ** 33));
    const machine = new Machine({ backend: armv7Lpae, features: {}, memory, pes: [{ registers: {} }, { registers: {} }] });
    const geometry = tableGeometry({ stage: 2, granule: '4K', iaBits: 40, oaBits: 40, startLevel: 1, ds: false });
    const format = must(armv7Lpae.format('s2', { geometry }));
    const arena = createTableArena({ pageShift: 12, base: ARENA, maxPages: 32, initialPages: 32 });
    const table = must(createPageTable({ format, memory: arena, sink: machine.pes[0].tables(format) }));
    const { vtcr, vttbr } = must(armv7Lpae.registers.encodeStage2({ geometry, features: {}, root: table.root, vmid: 1 }));
    for (const pe of machine.pes) for (const [name, value] of Object.entries({ HCR: 1n, VTCR: vtcr, VTTBR: vttbr, TTBCR: 1n << 31n })) pe.writeRegister(name, value);
    must(table.map(0, PAGE, 0x10_0000, {}));
    expect(at(machine.pes[1].read('pl10', 4n))).toBe(0x10_0004);
    must(table.unmap(0, PAGE));
    expect(at(machine.pes[1].read('pl10', 4n))).toBe('translation');
    expect(machine.pes[1].read('pl2', 4n)).toMatchObject({ kind: 'done', output: 4 });
  });

  it('says what is not modelled', () => {
    const machine = new Machine({ backend: armv7Lpae, features: {}, memory: new SparseMemory(), pes: [{ registers: { SCTLR: 1n } }] });
    expect(machine.pes[0].read('pl10', 0n)).toMatchObject({ kind: 'not-modelled', id: 'registers.short-descriptors' });
    expect(machine.check()).toMatchObject({ kind: 'not-modelled' });
  });
});
