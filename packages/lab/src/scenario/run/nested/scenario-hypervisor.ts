import { type GuestMemory, type NestedState, type Outcome, done, refused } from '@granule/contract';
import { alignDown, hex } from '@granule/geometry/bits';
import type { NestedOptions, NestedVm, Vcpu } from '@granule/kvm';
import { type ShadowChain, shadowChain, type ShadowEvent, ShadowHistory } from '@granule/nested';
import { guestOfMachine } from '../../../nested/guest-machine.js';
import { SCENARIO_SCHEMA } from '../../scenario.js';
import type { StepOf } from '../../steps.js';
import type { World } from '../world.js';
import { chainTables } from './chain-tables.js';
import { GuestStage2 } from './guest-stage2.js';
import { type OtherTable, ShadowMakers } from './shadow-makers.js';

/** Memory of the machine as the host's kernel sees it. */
export interface HostView {
  read(physical: number, into: Uint8Array): boolean;
  write(physical: number, bytes: Uint8Array): void;
}

const BYTES = 8;
const VMID = 48n;

/** The guest as a hypervisor: its stage-2 tables, the registers that it enters its guests with, and what KVM makes of them. */
export class ScenarioHypervisor {
  readonly options: NestedOptions;
  readonly history = new ShadowHistory();
  readonly #tables = new Map<number, GuestStage2>();
  /** By vCPU: VTTBR_EL2, VTCR_EL2 and HCR_EL2.VM as they stand. */
  readonly #states = new Map<Vcpu, NestedState>();
  readonly #makers: ShadowMakers;
  /** What the host's kernel reads the guest's memory through. */
  view: HostView | undefined;
  #fault = 0;

  private constructor(
    private readonly world: World,
    guest: NestedOptions['guest'],
  ) {
    const key = world.scenario.vm?.nested?.key ?? 'vttbr+vtcr';
    this.options = { guest, key, memory: this.#memory(), on: (event) => this.#heard(event) };
    this.#makers = new ShadowMakers(key);
  }

  /** Undefined: this host's features give no VM a legal IPA size. */
  static of(world: World): ScenarioHypervisor | undefined {
    const { backend, features, host } = world.config;
    const guest = guestOfMachine(backend, features, host.granule);
    return guest && new ScenarioHypervisor(world, guest);
  }

  get vm(): NestedVm {
    return this.world.vm.nested!;
  }

  get key(): string {
    return this.options.key!;
  }

  /** The table that steps speak of by the address of its first page. Refused: `scenario.step`, and what {@link GuestStage2} refuses. */
  table(step: StepOf<'stage2'>): Outcome<GuestStage2> {
    const there = this.#tables.get(step.table);
    if (there !== undefined) {
      return done(there);
    }
    const made = GuestStage2.make(this.options, step);
    if (made.kind === 'done') {
      this.#tables.set(step.table, made.value);
    }
    return made;
  }

  /** The registers for a guest of this VMID with this table; without one, with its stage 2 off. Refused: `scenario.step`. */
  state(vmid: number, at: number | undefined): Outcome<NestedState> {
    const base = BigInt(vmid) << VMID;
    if (at === undefined) {
      return done({ vttbr: base, vtcr: 0n, stage2: false });
    }
    const table = this.#tables.get(at);
    return table === undefined
      ? refused('scenario.step', `table ${hex(at)} is none that a step stage2 has written.`, SCENARIO_SCHEMA)
      : done({ vttbr: base | BigInt(table.root), vtcr: table.vtcr, stage2: true });
  }

  /** The guest is entered with them. */
  entered(vcpu: Vcpu, state: NestedState): void {
    this.#states.set(vcpu, state);
  }

  /** The registers at a TLBI; with another VMID in VTTBR_EL2 where one is given. */
  atTlbi(vcpu: Vcpu, vmid: number | undefined): NestedState {
    const { vttbr, vtcr, stage2 } = this.#states.get(vcpu) ?? { vttbr: 0n, vtcr: 0n, stage2: false };
    return { vttbr: vmid === undefined ? vttbr : (vttbr % 2n ** VMID) | (BigInt(vmid) << VMID), vtcr, stage2 };
  }

  /** The policy mapped something for a vCPU's fault. */
  mapped(vcpu: Vcpu, address: number, bytes: number): void {
    const [context, state] = [this.vm.contextOf(vcpu), this.vm.guestOf(vcpu)];
    if (context !== undefined && state !== undefined) {
      this.history.mapped(context.index, this.#fault, address, address + bytes);
      this.#makers.mapped({ context: context.index, start: address, end: address + bytes, state, vcpu: vcpu.id, event: this.world.recorder.lastWrite });
    }
  }

  /** A vCPU's guest used its shadow. Answers the physical address to which the tables that it runs with lead; undefined: they do not tell, or it runs none. */
  used(vcpu: Vcpu, address: number): number | undefined {
    const [context, state] = [this.vm.contextOf(vcpu), this.vm.guestOf(vcpu)];
    if (context === undefined || state === undefined) {
      return undefined;
    }
    this.#makers.used({ context: context.index, address, state, vcpu: vcpu.id, event: this.world.recorder.events });
    const place = this.vm.translate(vcpu, address);
    return place && this.#physical(place.ipa);
  }

  /** Uses of shadow entries that were made for another table. */
  get others(): readonly OtherTable[] {
    return this.#makers.found;
  }

  /**
   * An address of a vCPU's nested guest through all tables, and which context it runs with.
   * @throws RangeError where the vCPU is not loaded in a nested guest
   */
  chain(vcpu: Vcpu, address: number): { readonly context: number; readonly chain: ShadowChain } {
    const [context, state] = [this.vm.contextOf(vcpu), this.vm.guestOf(vcpu)];
    if (context === undefined || state === undefined) {
      throw new RangeError(`vCPU ${vcpu.id} runs no nested guest.`);
    }
    const tables = chainTables(this.options, this.world.vm, this.vm.stage2Of(vcpu), this.history);
    return { context: context.index, chain: shadowChain(address, context, state, tables) };
  }

  #heard(event: ShadowEvent): void {
    this.history.on(event);
    if (event.event === 'decided') {
      this.#fault = event.ipa;
    }
  }

  /** Memory at the VM's IPAs: by slot, as KVM reads its guest. */
  #memory(): GuestMemory {
    const bytes = new Uint8Array(BYTES);
    const words = new DataView(bytes.buffer);
    return {
      read: (ipa, into) => this.#each(ipa, into.length, (physical, offset, size) => this.view?.read(physical, into.subarray(offset, offset + size)) === true),
      exchange: (ipa, expected, value) => {
        const physical = this.#physical(ipa);
        if (physical === undefined || this.view?.read(physical, bytes) !== true) {
          return 'not-memory';
        }
        if (words.getBigUint64(0, true) !== expected) {
          return 'changed';
        }
        words.setBigUint64(0, value, true);
        this.view.write(physical, bytes);
        return 'done';
      },
    };
  }

  /** Page by page, as far as `piece` agrees. */
  #each(ipa: number, bytes: number, piece: (physical: number, offset: number, size: number) => boolean): boolean {
    for (let offset = 0; offset < bytes; ) {
      const size = Math.min(bytes - offset, this.world.pageBytes - ((ipa + offset) % this.world.pageBytes));
      const physical = this.#physical(ipa + offset);
      if (physical === undefined || !piece(physical, offset, size)) {
        return false;
      }
      offset += size;
    }
    return true;
  }

  #physical(ipa: number): number | undefined {
    const { vm, hostMemory, arena } = this.world;
    const slot = vm.slots.at(ipa);
    const hva = slot && slot.hva + (ipa - slot.ipa);
    const page = hva === undefined ? undefined : hostMemory.page(hva, false);
    return page && page.physical + (hva! - alignDown(hva!, arena.pageShift));
  }
}
