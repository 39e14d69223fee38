import type { Backend, Effect, EffectSink, Features, Outcome, Registers, TlbModel, TrapHandler, Words } from '@granule/contract';
import type { Choices } from '@granule/mmu';
import { ctr } from '../cache/geometry.js';
import { CacheHierarchy, type CacheConfig, type MainMemory } from '../cache/hierarchy.js';
import { CacheOrder } from '../cache/order.js';
import { cachePolicy, type CachePolicy } from '../cache/policy.js';
import { Witness } from '../cache/witness.js';
import { AdversarialTlb } from '../tlb/adversarial.js';
import { TlbOrder, type OrderChoice } from '../tlb/order.js';
import type { Choose } from './choice.js';
import { Pe } from './pe.js';
import { Contexts } from './setting.js';

export interface PeOptions {
  /** System registers by their Arm names. */
  readonly registers: Registers;
  /** Numbers of the shareability domains; default 0. */
  readonly inner?: number;
  readonly outer?: number;
  /** Default: an {@link AdversarialTlb}. */
  readonly tlb?: TlbModel;
}

/** `events`: how many it has been told, so that causes are named as it counts them; absent: it hears of nothing but through the machine. */
export interface Listener extends EffectSink {
  readonly events?: number;
}

export interface MachineOptions {
  readonly backend: Backend;
  readonly features: Partial<Features>;
  readonly memory: MainMemory;
  readonly pes: readonly PeOptions[];
  /** Absent: accesses and walks go to memory. */
  readonly caches?: Omit<CacheConfig, 'memory' | 'pes'>;
  /** What the architecture leaves to an implementation in a translation. */
  readonly choices?: Choices;
  /**
   * Decides what the architecture leaves to the moment: which of the entries that a TLB holds answers, whether a walker sees a write or a register that no
   * barrier has ordered, which value of a register not yet synchronised is in use. Absent: nothing is late, invalidations take effect when they are issued,
   * and the first entry answers.
   */
  readonly choose?: Choose;
  /** Takes the exceptions to EL2; absent: faults of stage 2 are the answer of the access. */
  readonly handler?: TrapHandler;
  /**
   * Told of everything that the PEs do, in order, under their numbers. Of caches it hears too what came of them: an access that got other bytes than the program
   * last wrote has a `mismatch`, with the event that is to blame.
   */
  readonly listener?: Listener;
  /**
   * What an access does whose TLB holds leaves that break-before-make should have kept apart (DDI 0487 D8.17.1): `abort`, the default, or whatever the
   * first of them says. With a chooser either may happen.
   */
  readonly conflicts?: 'abort' | 'first';
  /** Register sets decoded by another machine of the same backend and features, to be used again. */
  readonly contexts?: Contexts;
}

/** Walks are taken to be Inner Shareable Write-Back, as Linux and KVM set TCR and VTCR up; so are a hypervisor's stores to its tables. */
const TABLES: CachePolicy = cachePolicy(0xff, 3, false, { dataCache: true, instructionCache: true });

/** Several PEs with memory, caches and TLB maintenance between them. */
export class Machine {
  readonly backend: Backend;
  readonly features: Partial<Features>;
  readonly memory: MainMemory;
  readonly contexts: Contexts;
  readonly caches: CacheHierarchy | undefined;
  readonly order: TlbOrder;
  /** Cache maintenance under way; without a chooser there is none. */
  readonly cacheOrder = new CacheOrder();
  /** What programs last wrote; absent without caches, where nothing can be stale. */
  readonly witness: Witness | undefined;
  readonly conflicts: 'abort' | 'first';
  readonly pes: readonly Pe[];
  #told = 0;
  choose: Choose | undefined;
  handler: TrapHandler | undefined;
  listener: Listener | undefined;
  readonly #bytes = new Uint8Array(8);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(options: MachineOptions) {
    const { backend, features, memory, pes, caches, choices } = options;
    this.backend = backend;
    this.features = features;
    this.memory = memory;
    this.contexts = options.contexts ?? new Contexts(backend, features, choices);
    this.caches = caches && new CacheHierarchy({ ...caches, memory, pes });
    this.witness = this.caches && new Witness(this.caches);
    this.conflicts = options.conflicts ?? 'abort';
    this.choose = options.choose;
    this.handler = options.handler;
    this.listener = options.listener;
    const tlbs = pes.map(({ tlb }) => tlb ?? new AdversarialTlb());
    this.order = new TlbOrder(pes.map(({ inner, outer }, index) => ({ tlb: tlbs[index], ...(inner !== undefined && { inner }), ...(outer !== undefined && { outer }) })));
    this.pes = pes.map(({ registers }, index) => new Pe(this, index, tlbs[index], registers));
  }

  /** Invalidations that may take effect now, though no barrier asks for it. */
  pending(): readonly OrderChoice[] {
    return this.order.choices();
  }

  /** Tells the listener. Whoever has something to tell that no PE does (a context installed) does so here, so that events are counted. */
  tell(effect: Effect): void {
    this.#told += 1;
    this.listener?.effect(effect);
  }

  /** Number of the last event, from 1. */
  get events(): number {
    return this.listener?.events ?? this.#told;
  }

  /** CTR_EL0 as an event: what caches need of software. Without caches nothing. */
  get identification(): Effect {
    const { lineBytes = 64, config } = this.caches ?? {};
    const { idc = config === undefined, dic = config === undefined, instruction } = config ?? {};
    const value = ctr({ lineBytes, instructionIndex: instruction?.index ?? 'physical', idc, dic });
    return { type: 'register', name: 'CTR_EL0', value };
  }

  /** A device, or a loader, stores to memory past all caches. False: there is no memory. */
  storeByDevice(pa: number, bytes: Uint8Array): boolean {
    this.witness?.wrote(pa, bytes, this.events, false);
    return this.memory.write(pa, bytes).kind === 'done';
  }

  /** The descriptor at `pa` as the walker of a PE reads it: through its caches. False: an external abort. */
  readDescriptor(pe: number, pa: number, into: Words): boolean {
    const bytes = this.#bytes;
    if (!(this.caches?.read(pe, pa, bytes, TABLES) ?? this.memory.read(pa, bytes))) return false;
    into.lo = this.#view.getUint32(0, true);
    into.hi = this.#view.getUint32(4, true);
    return true;
  }

  /** Writes a descriptor; walkers may see it late. False: an external abort. */
  writeDescriptor(pe: number, pa: number, lo: number, hi: number): boolean {
    const old: Words = { lo: 0, hi: 0 };
    if (!this.readDescriptor(pe, pa, old)) return false;
    if (old.lo === lo && old.hi === hi) return true;
    this.#view.setUint32(0, lo, true);
    this.#view.setUint32(4, hi, true);
    if (!this.store(pe, pa, this.#bytes)) return false;
    this.order.write(pe, pa, old);
    return true;
  }

  /** A store to Normal Write-Back memory, as software writes its tables. */
  store(pe: number, pa: number, bytes: Uint8Array): boolean {
    this.witness?.wrote(pa, bytes, this.events + 1, true);
    return this.caches?.write(pe, pa, bytes, TABLES) ?? this.memory.write(pa, bytes).kind === 'done';
  }

  /** Refused where a PE's registers are not decodable. */
  check(): Outcome<unknown> {
    const outcomes = this.pes.map((pe) => pe.decoded());
    return outcomes.find(({ kind }) => kind !== 'done') ?? outcomes[0];
  }
}
