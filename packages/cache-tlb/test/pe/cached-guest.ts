import { armv8 } from '@granule/armv8';
import type { AttributeRequest, Coherence, ContextFormat, Effect, MemoryType } from '@granule/contract';
import { entrySpan, stage2Geometry } from '@granule/geometry';
import { createTableArena, SparseMemory } from '@granule/memory';
import { createPageTable } from '@granule/pgtable';
import { contextFormats, createJudge, Machine, type MachineOptions, type Pe, type Verdict } from '../../src/index.js';
import { changing, drop } from '../judge/faults.js';
import { must } from '../tlb/support.js';

const PAGE = 4096;
/** Large enough that nothing is evicted unasked. */
export const SHAPE = { sets: 16, ways: 4, replacement: 'lru' } as const;
export const CACHES = { data: SHAPE, instruction: { ...SHAPE, index: 'physical' }, outer: { ...SHAPE, sets: 64 } } as const;
const FORMAT: ContextFormat = { backend: 'armv8', granule: '4K', iaBits: 40, oaBits: 48, startLevel: 1 };

/** IPAs of the same page of memory, by memory type. */
export const CACHED = 0x1000n;
export const UNCACHED = 0x2000n;
export const DEVICE = 0x3000n;
export const OUTPUT = 0x10_0000;

/**
 * Two PEs with caches and one page of memory at three IPAs: Write-Back, Non-cacheable, Device. Stage 1 is off and means Normal Write-Back (HCR_EL2.DC). The
 * judge is the listener.
 *
 * @param lost effects of the core that do not reach the machine
 * @param coherence what the core need not do
 */
export function cachedGuest(options: Partial<MachineOptions> = {}, lost: (effect: Effect) => boolean = () => false, coherence: Coherence = { fwb: true, dic: true }) {
  const memory = new SparseMemory();
  must(memory.addZeroed(0, 2 ** 33));
  const judge = createJudge({ format: contextFormats({ armv8 }), caches: 'none' });
  const heard: Effect[] = [];
  const listener = {
    effect(each: Effect): void {
      heard.push(each);
      judge.effect(each);
    },
  };
  const machine = new Machine({ backend: armv8, features: { paBits: 48 }, memory, pes: [{ registers: {} }, { registers: {} }], caches: CACHES, listener, ...options });
  const geometry = must(stage2Geometry({ granule: '4K', ipaBits: 40 }));
  const format = must(armv8.format('s2', { geometry }));
  const arena = createTableArena({ pageShift: 12, base: 2 ** 32, maxPages: 16, initialPages: 16 });
  const sink = changing(machine.pes[0].tables(format), drop(lost), (level) => entrySpan('4K', level));
  const table = must(createPageTable({ format, memory: arena, sink, coherence }));
  const { vtcr, vttbr } = must(armv8.registers.encodeStage2({ geometry, features: {}, root: table.root, vmid: 1 }));
  for (const pe of machine.pes) {
    for (const [name, value] of Object.entries({ HCR_EL2: (1n << 31n) | (1n << 12n) | 1n, VTCR_EL2: vtcr, VTTBR_EL2: vttbr })) pe.writeRegister(name, value);
    pe.isb();
  }
  machine.tell({ type: 'context-installed', regime: 's2', root: table.root, vmid: 1, format: FORMAT });
  const map = (ia: bigint, output: number, memory: MemoryType, more: AttributeRequest = {}): void => {
    must(table.map(Number(ia), PAGE, output, { read: true, write: true, px: true, ux: true, memory, ...more }));
  };
  map(CACHED, OUTPUT, 'normal');
  map(UNCACHED, OUTPUT, 'normal-nc');
  map(DEVICE, OUTPUT, 'device-nGnRE');
  machine.pes[0].maintenance.dsb('ishst');
  return {
    machine,
    table,
    map,
    judge,
    heard,
    /** The number of the last event. */
    last: (): number => machine.events,
    /** Rule, cause, exposing event and address of each violation. */
    violations: (): readonly (readonly [string, number, number, number])[] => told(judge.verdict()),
  };
}

export function told({ violations }: Verdict): readonly (readonly [string, number, number, number])[] {
  return violations.map(({ rule, cause, exposed, address }) => [rule.id, cause, exposed, address]);
}

export function valueOf(pe: Pe, address: bigint, fetch = false): bigint | undefined {
  const answer = fetch ? pe.fetch('el10', address) : pe.read('el10', address);
  return answer.kind === 'done' ? answer.value : undefined;
}
