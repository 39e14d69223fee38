import { type Failure, type Outcome, DONE, done, refused } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { clearDirtyLog, type DirtyBitmap, getDirtyLog, ioremap as ioremapOf, type IoremapPolicy, notifierAge, notifierUnmap, resetVcpu as resetOf, setMemoryRegion, teardown as teardownOf, unmapRange } from '@granule/kvm';
import { backingOf } from '../configure.js';
import type { VmSpec } from '../machine-schema.js';
import { SCENARIO_SCHEMA } from '../scenario.js';
import type { StepOf } from '../steps.js';
import { bytesOf, valueOf } from './bytes.js';
import { seenWords } from './guest-steps.js';
import type { Run } from './run.js';
import type { Seen } from './world.js';

/** The VMM's own mapping: Normal, Inner Shareable, Write-Back. */
const CACHEABLE = { attributes: 0xff, shareability: 3 } as const;

function asOutcome(failure: Failure | undefined): Outcome<undefined> {
  return failure ?? DONE;
}

/** A step that may be expected to be refused. */
function answered(run: Run, step: { readonly do: string; readonly refused?: string | undefined }, outcome: Outcome<unknown>): Failure | undefined {
  if (step.refused === undefined) {
    return outcome.kind === 'done' ? undefined : outcome;
  }
  run.findings.expect(step.do, step.refused, outcome.kind === 'done' ? 'done' : outcome.id);
  return undefined;
}

export function setSlot(run: Run, step: StepOf<'set-slot'>): Failure | undefined {
  const { slot = run.world.vm.slots.count, ipa, size, hva, readonly = false, logDirty = false } = step;
  return answered(run, step, setMemoryRegion(run.world.vm, { slot, ipa, size, hva, readonly, logDirty }));
}

export function deleteSlot(run: Run, step: StepOf<'delete-slot'>): Failure | undefined {
  return answered(run, step, setMemoryRegion(run.world.vm, { slot: step.slot, ipa: 0, size: 0, hva: 0 }));
}

export function back(run: Run, step: StepOf<'back'>): undefined {
  run.world.hostMemory.add(backingOf(step, run.world.pageBytes));
}

export function unmapNotifier(run: Run, step: StepOf<'notifier-unmap'>): Failure | undefined {
  return answered(run, step, asOutcome(notifierUnmap(run.world.vm, step.hva, step.hva + step.size)));
}

export function age(run: Run, { hva, size, clear = true, flush = false, expect }: StepOf<'age'>): undefined {
  const young = notifierAge(run.world.vm, hva, hva + size, clear, flush);
  if (expect !== undefined) {
    run.findings.expect(`age ${hex(hva)}`, expect.young ? 'young' : 'old', young ? 'young' : 'old');
  }
}

export function logDirty(run: Run, step: StepOf<'log-dirty'>): Failure | undefined {
  const { vm } = run.world;
  const slot = vm.slots.byId(step.slot);
  if (slot === undefined) {
    return refused('scenario.step', `There is no slot ${step.slot}.`, SCENARIO_SCHEMA);
  }
  const { ipa, size, hva, readonly } = slot;
  return answered(run, step, setMemoryRegion(vm, { slot: step.slot, ipa, size, hva, readonly, logDirty: step.on }));
}

export function getLog(run: Run, { slot, expect }: StepOf<'get-dirty-log'>): Failure | undefined {
  const outcome = getDirtyLog(run.world.vm, slot);
  if (outcome.kind !== 'done') {
    return outcome;
  }
  if (expect !== undefined) {
    run.findings.expect(`dirty pages of slot ${slot}`, String(expect.pages), String(markedPages(outcome.value)));
  }
  return undefined;
}

function markedPages(bitmap: DirtyBitmap): number {
  let count = 0;
  for (let word = 0; word < bitmap.words; word += 1) {
    for (let [bits, other] = bitmap.word(word); bits !== 0 || other !== 0; bits &= bits - 1) {
      if (bits === 0) {
        [bits, other] = [other, 0];
      }
      count += 1;
    }
  }
  return count;
}

export function clearLog(run: Run, { slot, first = 0, pages, mask }: StepOf<'clear-dirty-log'>): Failure | undefined {
  const { vm } = run.world;
  const count = pages ?? (vm.slots.byId(slot)?.size ?? 0) / vm.sizes.page - first;
  const bits = mask === undefined ? undefined : Array.from({ length: 64 }, (_, bit) => ((mask >> BigInt(bit)) & 1n) === 1n);
  const outcome = clearDirtyLog(vm, slot, first, count, (page) => bits === undefined || bits[page % 64]);
  return outcome.kind === 'done' ? undefined : outcome;
}

function beforehand(policy: VmSpec['ioremap']): IoremapPolicy {
  return policy === undefined || policy === 'at-fault' ? 'pages' : policy;
}

export function ioremap(run: Run, step: StepOf<'ioremap'>): Failure | undefined {
  const { vm, scenario } = run.world;
  const { ipa, size, physical, policy = beforehand(scenario.vm?.ioremap) } = step;
  const page = vm.sizes.page;
  const odd = ([['ipa', ipa], ['size', size], ['physical', physical]] as const).find(([, value]) => value % page !== 0);
  if (odd !== undefined) {
    return refused('scenario.step', `${odd[0]} ${hex(odd[1])} is not a multiple of the page size, ${page} bytes.`, SCENARIO_SCHEMA);
  }
  return answered(run, step, ioremapOf(vm, ipa, physical, size, policy));
}

export function unmap(run: Run, step: StepOf<'unmap'>): Failure | undefined {
  return answered(run, step, asOutcome(unmapRange(run.world.vm, step.ipa, step.ipa + step.size)));
}

export function teardown(run: Run): undefined {
  const { world } = run;
  teardownOf(world.vm);
  world.down = true;
}

export function resetVcpu(run: Run, step: StepOf<'reset-vcpu'>): Failure | undefined {
  const { world } = run;
  const vcpu = run.vcpu(step.vcpu);
  world.pe = world.side.peOf(vcpu);
  const failure = resetOf(world.vm, vcpu);
  world.side.reset(vcpu);
  return failure;
}

/** Others of the same kind run once each, on the same memory. */
export function otherVms(run: Run, { count, pe = 0 }: StepOf<'other-vms'>): Failure | undefined {
  const { world } = run;
  const [slot] = world.scenario.slots ?? [];
  for (let i = 0; i < count; i += 1) {
    run.progress(i, count);
    const made = world.newVm(false);
    if (made.kind !== 'done') {
      return made;
    }
    if (slot !== undefined) {
      setMemoryRegion(made.value, { slot: 0, ipa: slot.ipa, size: slot.size, hva: slot.hva });
    }
    const failure = world.side.visit(made.value, pe, slot?.ipa);
    if (failure !== undefined) {
      return failure;
    }
  }
  return undefined;
}

/** Physical address behind a user address. */
function physicalOf(run: Run, hva: number, bytes: number): Outcome<number> {
  const page = run.world.hostMemory.page(hva, false);
  const offset = hva % run.world.pageBytes;
  return page === undefined || offset + bytes > run.world.pageBytes
    ? refused('scenario.step', `There are not ${bytes} bytes in one page of the VMM's memory at ${hex(hva)}.`, SCENARIO_SCHEMA)
    : done(page.physical + offset);
}

export function hostWrite(run: Run, { hva, value, bytes = 8, pe = 0 }: StepOf<'host-write'>): Failure | undefined {
  const side = run.machine('host-write');
  const physical = physicalOf(run, hva, bytes);
  if ('kind' in side || physical.kind !== 'done') {
    return 'kind' in side ? side : physical.kind === 'done' ? undefined : physical;
  }
  side.machine.store(pe, physical.value, bytesOf(value, bytes));
  run.world.tell({ ...stored(physical.value, bytes, value), pe, ...CACHEABLE });
  return undefined;
}

export function hostRead(run: Run, { hva, bytes = 8, pe = 0, expect }: StepOf<'host-read'>): Failure | undefined {
  const side = run.machine('host-read');
  const physical = physicalOf(run, hva, bytes);
  if ('kind' in side || physical.kind !== 'done') {
    return 'kind' in side ? side : physical.kind === 'done' ? undefined : physical;
  }
  const into = new Uint8Array(bytes);
  if (!side.view(pe).read(physical.value, into)) {
    return noMemory(physical.value);
  }
  told(run, { what: `VMM reads ${hex(hva)}`, physical: physical.value, pe }, into, expect);
  return undefined;
}

export function observe(run: Run, { physical, bytes = 8, expect }: StepOf<'observe'>): Failure | undefined {
  const side = run.machine('observe');
  if ('kind' in side) {
    return side;
  }
  const into = new Uint8Array(bytes);
  if (!side.machine.memory.read(physical, into)) {
    return noMemory(physical);
  }
  told(run, { what: `device reads ${hex(physical)}`, physical }, into, expect);
  return undefined;
}

export function dma(run: Run, { physical, value, bytes = 8 }: StepOf<'dma'>): Failure | undefined {
  const side = run.machine('dma');
  if ('kind' in side) {
    return side;
  }
  run.world.tell(stored(physical, bytes, value));
  return side.machine.storeByDevice(physical, bytesOf(value, bytes)) ? undefined : noMemory(physical);
}

/** A write by a physical address, as an event. */
function stored(physical: number, bytes: number, value: bigint) {
  return { type: 'access', access: 'write', regime: 'physical', address: physical, output: physical, bytes, value } as const;
}

function noMemory(physical: number): Failure {
  return refused('scenario.step', `There is no memory at ${hex(physical)}.`, SCENARIO_SCHEMA);
}

interface Look {
  readonly what: string;
  readonly physical: number;
  /** Absent: of a device. */
  readonly pe?: number;
}

/** What was read, if the program did not last write it, breaks a rule as an access of a guest does. */
function told(run: Run, { what, physical, pe }: Look, bytes: Uint8Array, expect: StepOf<'observe'>['expect']): void {
  const side = run.machine(what);
  const mismatch = 'kind' in side ? undefined : side.machine.witness?.check(pe ?? 0, physical, bytes, false);
  const value = valueOf(bytes);
  const at = { address: physical, output: physical, bytes: bytes.length, value, ...(pe !== undefined && { pe }) };
  run.world.tell({ type: 'access', access: 'read', regime: 'physical', ...at, ...(mismatch !== undefined && { mismatch }) });
  if (expect !== undefined) {
    const seen: Seen = { kind: 'done', value, times: 1, ...(mismatch?.expected !== undefined && { expected: mismatch.expected }) };
    const { expected, actual } = seenWords(seen, expect);
    run.findings.expect(what, expected, actual);
  }
}
