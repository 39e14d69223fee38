import { AdversarialTlb, contextFormats, createJudge, Machine } from '@granule/cache-tlb';
import type { Backend, Effect, Features } from '@granule/contract';
import { VmidAllocator } from '@granule/kvm';
import { SparseMemory } from '@granule/memory';
import { must } from './maintenance-rig.js';
import type { PolicyRig } from './policy-rig.js';

export interface BenchSetup {
  readonly backend: Backend;
  readonly features: Partial<Features>;
  /** Default 8. */
  readonly vmidBits?: number;
}

/** Two PEs under the adversarial TLB, their memory, the VMIDs that VMs share, and the judge of all that happens. */
export class PolicyBench {
  readonly machine: Machine;
  readonly memory = new SparseMemory();
  readonly features: Features;
  readonly vmids: VmidAllocator;
  readonly judge;
  readonly log: Effect[] = [];
  /** VMs that there are. */
  readonly vms: PolicyRig[] = [];
  /** Whose guest is on a PE. */
  readonly running: (PolicyRig | undefined)[] = [undefined, undefined];
  /** KVM stores, and not hardware. */
  writing = false;

  constructor(
    { backend, features, vmidBits = 8 }: BenchSetup,
    readonly next: () => number,
    /** What KVM leaves out. */
    readonly lost: (effect: Effect) => boolean = () => false,
  ) {
    must(this.memory.add([{ pa: 0, bytes: 2 ** 40, fileBytes: 0, source: { size: 0, read: () => 0 }, offset: 0 }]));
    this.features = { ...backend.registers.features({}), haf: false, dic: false, ...features };
    this.vmids = new VmidAllocator(vmidBits);
    this.judge = createJudge({ format: contextFormats({ [backend.name]: backend }) });
    const pes = [0, 1].map(() => ({ registers: {}, tlb: new AdversarialTlb() }));
    const choose = (count: number): number => Math.floor(next() * count);
    this.machine = new Machine({ backend, features: this.features, memory: this.memory, pes, choose, listener: { effect: (effect) => this.#hear(effect) } });
  }

  #hear(effect: Effect): void {
    this.log.push(effect);
    this.judge.effect(effect);
    // What hardware writes into a descriptor, the access flag, the core reads next.
    if (effect.type === 'write' && !this.writing) this.vms.forEach((vm) => vm.wroteByHardware(effect));
  }
}
