import { hex } from '@granule/geometry/bits';
import { createTableArena } from '@granule/memory';
import { createPageTable } from '@granule/pgtable';
import type { TraceFields } from '@granule/snapshot';
import type { PlacedTable } from '../replay/kernel-tables.js';
import { type KernelRules, type LiveTable, perform } from '../replay/operations.js';
import { protOf } from '../replay/prot.js';
import type { TracedEvent } from '../replay/trace-pass.js';
import type { Session } from './session.js';

/** An object of the kernel that EL2 is to see from a step on (kvm_share_hyp). */
interface SharedObject {
  readonly name: string;
  readonly cause: string;
  readonly at: TracedEvent;
  /** At least one page of it must be mapped; else it may have been before. */
  readonly certain: boolean;
  last: TraceFields<'hyp_map'> | undefined;
}

/** PAGE_HYP. */
const DATA = { read: true, write: true, execute: false, memory: 'normal' } as const;

/** Which objects a step shares, in nVHE mode: kvm_arch_init_vm, kvm_arch_vcpu_create, kvm_vcpu_finalize_sve, kvm_arch_vcpu_run_map_fp (up to 6.13). */
const OBJECTS: Readonly<Record<string, Pick<SharedObject, 'name' | 'certain'>>> = {
  KVM_CREATE_VM: { name: 'struct kvm', certain: true },
  KVM_CREATE_VCPU: { name: 'struct kvm_vcpu', certain: true },
  KVM_ARM_VCPU_FINALIZE: { name: 'the SVE registers of a vCPU', certain: false },
  KVM_RUN: { name: "the FP registers of a vCPU's task", certain: false },
};

/**
 * Mappings of EL2 in nVHE mode. Those of boot have no cause in a run: they are given, and tell where EL2 sees the linear map. After that each object that a step
 * shares is mapped page by page, at the hyp address of its physical one; where it lies and how many pages it has is given.
 */
export class HypMappingCalls {
  readonly #session: Session;
  readonly #placed: PlacedTable | undefined;
  readonly #rules: KernelRules;
  #object: SharedObject | undefined;
  /** Hyp minus physical addresses of pages, and how often each was seen: that of the linear map is the most frequent. */
  readonly #offsets = new Map<number, number>();
  live: LiveTable | undefined;

  constructor(session: Session, placed: PlacedTable | undefined) {
    this.#session = session;
    this.#placed = placed;
    this.#rules = { prot: session.input.layout, attributes: new Map() };
  }

  /** A step of the VMM: what it shares is expected next. */
  step(call: string, cause: string, at: TracedEvent): void {
    this.close();
    const shared = Object.hasOwn(OBJECTS, call) ? OBJECTS[call] : undefined;
    if (shared !== undefined && this.#session.input.hypTraced) {
      this.#object = { ...shared, cause, at, last: undefined };
    }
  }

  /** Nothing more of the object can come. */
  close(): void {
    const object = this.#object;
    this.#object = undefined;
    if (object?.certain === true && object.last === undefined) {
      this.#session.comparison.count('hyp_map', false);
      const sentence = `The policy maps ${object.name} for EL2; the kernel did not.`;
      this.#session.note(object.at, { operation: 'hyp_map', cause: object.cause, what: 'missing', sentence });
    }
  }

  made(): void {
    if (this.#placed === undefined || this.live !== undefined) {
      return;
    }
    const { format } = this.#placed.like;
    const { pageShift } = format.geometry;
    const memory = createTableArena({ pageShift, maxPages: Math.max(1, Math.floor(this.#session.input.tableBytes / 2 ** pageShift)) });
    const table = createPageTable({ format, memory });
    this.live = table.kind === 'done' ? { placed: this.#placed, table: table.value, touches: [], destroyed: false } : undefined;
  }

  mapped(event: TracedEvent, fields: TraceFields<'hyp_map'>): void {
    const { hostMemory } = this.#session;
    if (this.live !== undefined) {
      this.live.touches.push({ operation: 'hyp_map', trace: event.trace, line: event.line, start: fields.addr, end: fields.addr + fields.size });
      perform(this.live, 'hyp_map', fields, this.#rules);
    }
    if (this.#object === undefined) {
      hostMemory.take('hyp mapping of the kernel');
    } else {
      this.#compare(event, fields, this.#object);
    }
    const { page } = this.#session.sizes;
    const offset = fields.addr - (fields.phys - (fields.phys % page));
    this.#offsets.set(offset, (this.#offsets.get(offset) ?? 0) + 1);
  }

  #compare(event: TracedEvent, fields: TraceFields<'hyp_map'>, object: SharedObject): void {
    const { comparison, sizes, input, hostMemory } = this.#session;
    if (object.last === undefined) {
      hostMemory.take('object of the kernel');
    }
    const phys = object.last === undefined ? fields.phys : object.last.phys + sizes.page;
    const addr = this.#hypAddress(phys, object) ?? fields.addr;
    const ours = { addr, size: sizes.page, phys, prot: protOf(DATA, input.layout) };
    object.last = fields;
    const differing = (['addr', 'size', 'phys', 'prot'] as const).filter((name) => ours[name] !== fields[name]);
    comparison.count('hyp_map', differing.length === 0);
    if (differing.length > 0) {
      const text = (of: typeof ours): string => differing.map((name) => `${name} ${hex(of[name], 1)}`).join(', ');
      const sentence = `The policy has ${text(ours)} and the kernel ${text(fields)}, for ${object.name}.`;
      this.#session.note(event, { operation: 'hyp_map', cause: object.cause, what: 'arguments', sentence });
    }
  }

  /** By what other mappings say of the linear map, or by the page before; undefined: this is the first that tells. */
  #hypAddress(phys: number, { last }: SharedObject): number | undefined {
    const { page } = this.#session.sizes;
    const [linear] = [...this.#offsets].sort(([, a], [, b]) => b - a);
    if (linear !== undefined) {
      return linear[0] + (phys - (phys % page));
    }
    return last === undefined ? undefined : last.addr + page;
  }
}
