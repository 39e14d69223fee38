import type { EffectSink, Effect, Registers } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import type { PolicyTrace, Vm } from '@granule/kvm';
import { type DecodedEvent, elfCore, type PrintableEvent, printTrace, REGISTERS_SCHEMA_NAME } from '@granule/snapshot';
import { CallRecorder } from '../causes/calls.js';
import type { ProtLayout } from '../replay/prot.js';
import { eventOf, type KernelNames } from './events.js';

/** What a run directory says of the machine that the policy stands for. */
export interface RecordedMachine {
  /** Name of the run. */
  readonly run: string;
  readonly cpu: string;
  /** As `uname -a` prints it: its version chooses the profile at a replay. */
  readonly kernel: string;
  readonly layout: ProtLayout;
  /** ID registers, HCR_EL2 and TCR_EL2 of the host, by their Arm names; VTCR_EL2 and VTTBR_EL2 are the VM's. */
  readonly registers: Registers;
  /** Bytes above which the whole instruction cache is invalidated. */
  readonly icacheLimit: number;
  /** Linear map of the host kernel: virtual minus physical address. */
  readonly linearOffset: bigint;
}

/** A task of the VMM and where it runs. */
export interface RecordedTask {
  readonly task: string;
  readonly pid: number;
  readonly cpu: number;
}

interface Place {
  readonly trace: 'end';
  readonly event: number;
  readonly line: number;
  readonly time: string;
  readonly text: string;
}

/** One step of the VMM, as `steps.json` has it. */
interface RecordedStep {
  readonly n: number;
  readonly call: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly after: Place | null;
  readonly events?: readonly [number, number];
  readonly result?: unknown;
}

/** Lines above the first event of {@link printTrace}. */
const HEADING_LINES = 12;
/** Seconds between two events. */
const TICK = 0.000_01;
const VMM: RecordedTask = { task: 'vmm', pid: 60, cpu: 0 };

/**
 * Writes down a run of the policy as a run directory: the trace that a kernel with its probes would print, the steps of the VMM, tables and registers at
 * checkpoints. `sink` and `trace` go to the VM; causes are told before the policy is asked, returns after.
 */
export class RunRecorder {
  readonly trace: PolicyTrace;
  readonly sink: EffectSink;
  readonly #machine: RecordedMachine;
  readonly #calls: CallRecorder;
  readonly #events: PrintableEvent[] = [];
  readonly #steps: RecordedStep[] = [];
  readonly #files = new Map<string, Uint8Array | string>();
  #vm: Vm | undefined;
  #on: RecordedTask = VMM;
  #muted = false;

  constructor(machine: RecordedMachine) {
    this.#machine = machine;
    this.#calls = new CallRecorder((call) => this.event(eventOf(call, this.#names)), machine.layout, { icacheLimit: machine.icacheLimit });
    this.trace = (event) => {
      if (!this.#muted) this.#calls.trace(event);
    };
    this.sink = {
      effect: (effect: Effect): void => {
        if (!this.#muted) this.#calls.effect(effect);
      },
    };
  }

  get #names(): KernelNames {
    const { linearOffset } = this.#machine;
    return { pgt: linearOffset + 0x4920_0240n, mmu: linearOffset + 0x4810_09b0n, root: this.#vm?.table.root ?? 0, linearOffset };
  }

  /** The VM, as soon as it is made. */
  attach(vm: Vm): void {
    this.#vm = vm;
    this.#calls.vm = vm;
  }

  /** What follows happens in another task. */
  as<T>(task: RecordedTask, part: () => T): T {
    const before = this.#on;
    this.#on = task;
    const result = part();
    this.#on = before;
    return result;
  }

  /** What the machine does without the kernel: nothing of it is traced. */
  unseen<T>(part: () => T): T {
    this.#muted = true;
    const result = part();
    this.#muted = false;
    return result;
  }

  /** One event of the trace: a cause, or the return of a probed function. */
  event(decoded: DecodedEvent): void {
    this.#events.push({ ...decoded, at: { ...this.#on, time: 1 + this.#events.length * TICK } });
  }

  /** A call of the VMM and what follows from it. */
  step<T>(call: string, args: Readonly<Record<string, unknown>>, part: () => T, result?: unknown): T {
    const first = this.#events.length;
    const step = { n: this.#steps.length, call, args, after: this.#place(first - 1), ...(result === undefined ? {} : { result }) };
    this.#steps.push(step);
    const at = this.#steps.length - 1;
    const value = part();
    const last = this.#events.length - 1;
    this.#steps[at] = last >= first ? { ...step, events: [first, last] } : step;
    return value;
  }

  #place(event: number): Place | null {
    if (event < 0) {
      return null;
    }
    const { at, event: name } = this.#events[event];
    return { trace: 'end', event, line: event + HEADING_LINES + 1, time: at.time.toFixed(6), text: `${name}:` };
  }

  /** The machine is held: its tables and registers are written down. */
  checkpoint(name: string): void {
    this.step('mark', { text: `hold ${name}` }, () => this.event({ event: 'tracing_mark_write', fields: { mark: `hold ${name}` } }));
    const vm = this.#vm;
    if (vm === undefined) {
      return;
    }
    const { vttbr, vtcr } = this.#stage2Registers(vm);
    const registers = { ...this.#machine.registers, VTCR_EL2: vtcr, VTTBR_EL2: vttbr };
    const written = Object.fromEntries(Object.entries(registers).map(([register, value]) => [register, hex(value, 1)]));
    this.#files.set(`${name}.regs.json`, JSON.stringify({ schema: REGISTERS_SCHEMA_NAME, registers: written }));
    this.#files.set(`${name}.core`, elfCore([{ pa: vm.table.memory.addressOf(0), bytes: tableBytes(vm) }]));
  }

  #stage2Registers(vm: Vm): { readonly vtcr: bigint; readonly vttbr: bigint } {
    const { backend, host } = vm.options;
    const ha = host.hardwareAccessFlag && host.features.haf;
    const encoded = backend.registers.encodeStage2({ geometry: vm.format.geometry, features: host.features, ha, root: vm.table.root, vmid: vm.vmid });
    if (encoded.kind !== 'done') {
      throw new RangeError(encoded.sentence);
    }
    return encoded.value;
  }

  /** The run directory, by file name. */
  files(): ReadonlyMap<string, Uint8Array | string> {
    const { run, cpu, kernel } = this.#machine;
    const { format, sizes, vcpus, slots } = this.#vm ?? {};
    const common = { run, pageSize: sizes?.page ?? 4096, vcpus: vcpus?.length ?? 0 };
    const ipaBits = format?.geometry.iaBits ?? 40;
    const listed = (slots?.inKernelOrder() ?? []).map(({ id, ipa, size, hva, readonly }) => ({
      id, ipa: hex(ipa, 1), size: hex(size, 1), hva: hex(hva, 1), kind: 'unknown', flags: readonly ? 2 : 0,
    }));
    return new Map<string, Uint8Array | string>([
      ...this.#files,
      ['run.json', JSON.stringify({ run, cpu, kernel })],
      ['slots.json', JSON.stringify({ ipa_bits: ipaBits, page_size: common.pageSize, vcpus: common.vcpus, slots: listed })],
      ['steps.json', JSON.stringify({ ...common, scenario: run, variant: 1, ipaBits, traceComplete: true, events: { end: this.#events.length }, steps: this.#steps })],
      ['end.trace.txt', `${[...printTrace(this.#events)].join('\n')}\n`],
    ]);
  }
}

/** Bytes of the table pages, up to the last that is not zero; whole entry tables in any case. */
function tableBytes({ table: { memory, root }, format }: Vm): Uint8Array {
  const { words, pageShift, contiguousPages } = memory;
  const rootWord = memory.wordOf(root, 8);
  const pageWords = 2 ** pageShift / 4;
  const rootEnd = rootWord + Math.max(pageWords, format.geometry.entryTables * pageWords);
  let end = Math.min(words.length, contiguousPages * pageWords);
  while (end > rootEnd && words[end - 1] === 0) {
    end--;
  }
  const bytes = Math.ceil(end / pageWords) * pageWords * 4;
  return new Uint8Array(words.buffer.slice(words.byteOffset, words.byteOffset + bytes));
}
