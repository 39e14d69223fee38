import type { OutputAddress } from '@granule/geometry/bits';
import { decodeSetWay } from './geometry.js';
import type { CacheHierarchy } from './hierarchy.js';
import type { Lines } from './lines.js';
import type { CachePolicy } from './policy.js';

/** Data cache operations by address: to the point of coherency (C) or unification (U). */
export type DataByAddress = 'IVAC' | 'CVAC' | 'CIVAC' | 'CVAU';
/** Data cache operations by set and way. */
export type DataBySetWay = 'ISW' | 'CSW' | 'CISW';

/** The bits of HCR that change what a guest's operation does. */
export interface GuestControls {
  /** Stage 2 is on (VM), or DC. */
  readonly vm: boolean;
  readonly swio: boolean;
}

/**
 * What an operation does when EL1 executes it: an invalidation by set/way also cleans with HCR_EL2.SWIO or VM, one by address with VM, so
 * that a guest cannot lose a line of its host (DDI 0487 C5.3, DC ISW and DC IVAC; D24.2, HCR_EL2.SWIO).
 */
export function guestOperation<T extends DataByAddress | DataBySetWay>(operation: T, { vm, swio }: GuestControls): T | 'CISW' | 'CIVAC' {
  if (operation === 'ISW' && (vm || swio)) return 'CISW';
  return operation === 'IVAC' && vm ? 'CIVAC' : operation;
}

interface Act {
  readonly clean: boolean;
  readonly drop: boolean;
}

const ACTS: Readonly<Record<DataByAddress | DataBySetWay, Act>> = {
  IVAC: { clean: false, drop: true },
  CVAC: { clean: true, drop: false },
  CIVAC: { clean: true, drop: true },
  CVAU: { clean: true, drop: false },
  ISW: { clean: false, drop: true },
  CSW: { clean: true, drop: false },
  CISW: { clean: true, drop: true },
};

/** Whether a dirty line is lost by it. */
function perform(caches: CacheHierarchy, lines: Lines, slot: number, behind: number, { clean, drop }: Act): boolean {
  if (clean || caches.config.invalidateDirty === 'clean') caches.writeBack(lines, slot, behind);
  const lost = drop && lines.isDirty(slot);
  if (drop) lines.drop(slot);
  return lost;
}

/**
 * PE `pe` maintains the line of `pa` in the data caches of the shareability domain that the policy of the address gives, and for operations
 * to the point of coherency in every level behind them, the system cache included (DDI 0487 D7.5.9).
 *
 * @returns whether bytes that were in a cache alone are lost by it
 */
export function maintainData(caches: CacheHierarchy, pe: number, operation: DataByAddress, pa: OutputAddress, policy: CachePolicy): boolean {
  const line = pa - (pa % caches.lineBytes);
  const act = ACTS[operation];
  let lost = false;
  const at = (lines: Lines, behind: number): void => {
    const slot = lines.find(line);
    if (slot !== -1 && perform(caches, lines, slot, behind, act)) lost = true;
  };
  for (const each of caches.domain(pe, policy.share)) at(caches.data[each], 0);
  if (operation === 'CVAU') return lost;
  for (const [level, lines] of caches.shared.entries()) at(lines, level + 1);
  return lost;
}

/**
 * PE `pe` maintains one set and way of the level that the operand names: of its own L1, or of level 2. No other PE's L1, and no system
 * cache: there is no level number for them (DDI 0487 D7.5.9, "set/way"). A level that is not there, or a set and way past its size, is left
 * alone.
 * @param setWay bits 31:4 of the operand, as the backend decodes it
 * @param level bits 3:1
 * @returns the line whose bytes are lost by it; −1: none
 */
export function maintainSetWay(caches: CacheHierarchy, pe: number, operation: DataBySetWay, setWay: number, level: number): number {
  const lines = [caches.data[pe], caches.outer][level];
  if (lines === undefined) return -1;
  const { set, way } = decodeSetWay(setWay, level, lines.shape, caches.lineBytes);
  if (way >= lines.shape.ways) return -1;
  const slot = set * lines.shape.ways + way;
  const line = lines.lineOf(slot);
  return line !== -1 && perform(caches, lines, slot, level, ACTS[operation]) ? line : -1;
}

/** DC ZVA: a store of zeros to the block around `pa`. False: an external abort. */
export function zero(caches: CacheHierarchy, pe: number, pa: OutputAddress, policy: CachePolicy, blockBytes = 64): boolean {
  return caches.write(pe, pa - (pa % blockBytes), new Uint8Array(blockBytes), policy);
}

/** IC IALLU of PE `pe`; `inner`: IC IALLUIS, every PE of its Inner Shareable domain. */
export function invalidateInstructions(caches: CacheHierarchy, pe: number, inner: boolean): void {
  for (const each of caches.domain(pe, inner ? 'inner' : 'non')) caches.instruction[each].clear();
}

/**
 * IC IVAU: the line of `va` in the instruction caches of the Inner Shareable domain, or of this PE alone for Non-shareable memory. A
 * virtually indexed cache looks in the set of that VA alone: a copy that another VA put elsewhere stays (DDI 0487 D8.18.2, VIPT instruction
 * caches).
 */
export function invalidateInstructionLine(caches: CacheHierarchy, pe: number, va: number, pa: OutputAddress, { share }: CachePolicy): void {
  const line = pa - (pa % caches.lineBytes);
  const index = caches.instructionIndex(va, pa);
  for (const each of caches.domain(pe, share === 'non' ? 'non' : 'inner')) {
    const lines = caches.instruction[each];
    const slot = lines.find(line, index);
    if (slot !== -1) lines.drop(slot);
  }
}
