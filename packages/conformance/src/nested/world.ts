import type { NestedState } from '@granule/contract';
import { entrySpan, type Granule, type Level } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import { ensure } from '../law.js';
import { flat, guestOf, HOST_OFFSET, NestedBench, type GuestStage2, type NestedSubject, type Reach } from './bench.js';
import { ALL, allows, both, type Access, type HostLeaf, type HostOptions, type Rights, type ShadowHost } from './host.js';
import { byIpa, stage2Off, vttbrOf, type Vtcr } from './registers.js';
import { PLACES, stepText, TABLES, TARGETS, VCPUS, WORLD_GUESTS, type NestedStep } from './steps.js';

/** Which pages and blocks a guest hypervisor and its host use. */
export interface WorldOptions {
  readonly granule: Granule;
  readonly hostGranule: Granule;
  /** VTCR_EL2.HA. */
  readonly ha?: boolean;
  /** Who holds the shadows, and accesses memory through them; default lists. */
  readonly shadows?: (options: HostOptions) => ShadowHost;
}

const GiB = 2 ** 30;
const START: Readonly<Record<Granule, Level>> = { '4K': 1, '16K': 2, '64K': 2 };

/** One thing that an address may stand for, of one guest: an entry of its table, as long as nobody invalidated it. */
interface Entry {
  readonly start: number;
  readonly end: number;
  readonly output: number;
  readonly rights: Rights;
}

/** What the guest hypervisor may put at a place: a page of the VM's memory with rights of its own. */
const TARGET_RIGHTS: readonly Rights[] = [
  ALL,
  { ...ALL, write: false },
  { read: true, write: true, executeEl1: false, executeEl0: true },
  { read: true, write: true, executeEl1: true, executeEl0: false },
];

/** The naive model: what each address of each guest may be at this moment, and what the host maps. */
export class World {
  readonly bench: NestedBench;
  readonly #stage2: readonly GuestStage2[];
  readonly #options: WorldOptions;
  /** By table and place: what the table says now. */
  readonly #now: (Entry | undefined)[][];
  /** By guest: entries that were there and are not invalidated yet. */
  readonly #stale: Entry[][];
  /** By target: how often the host has moved it. */
  readonly #moves: number[] = Array.from({ length: TARGETS }, () => 0);
  readonly #inside: ({ readonly guest: number; readonly context: number } | undefined)[] = Array.from({ length: VCPUS }, () => undefined);

  constructor(subject: NestedSubject, options: WorldOptions) {
    const { granule, hostGranule, ha = false } = options;
    this.#options = options;
    const page = entrySpan(hostGranule, 3);
    const sizes = [page, entrySpan(hostGranule, 2)];
    const maps = (ipa: number): HostLeaf | undefined => this.hostLeaf(ipa);
    const shadows = options.shadows?.({ sizes, maps, guest: guestOf(subject.backend, { hostGranule }) });
    this.bench = new NestedBench(subject, { guest: { hostGranule }, vcpus: VCPUS, sizes, maps, ...(shadows && { shadows }) });
    const vtcr: Vtcr = { granule, inputBits: 40, startLevel: START[granule], ha };
    this.#stage2 = Array.from({ length: TABLES }, (_, table) => this.bench.stage2(vtcr, { root: (8 + table) * GiB }));
    this.#now = Array.from({ length: TABLES }, (_, table) => Array.from({ length: PLACES }, (__, place) => this.#start(table, place)));
    this.#stale = WORLD_GUESTS.map(() => []);
  }

  /** IPA of a place: two neighbouring pages, then two pages of one block. */
  address(place: number): number {
    const { granule } = this.#options;
    const page = entrySpan(granule, 3);
    return place < 2 ? place * page : 2 * entrySpan(granule, 2) + (place - 2) * 5 * page;
  }

  run(step: NestedStep): void {
    switch (step.step) {
      case 'enter':
        this.#enter(step.vcpu, step.guest);
        return;
      case 'access':
        this.#access(step.vcpu, step.place, step.access);
        return;
      case 'change':
        this.#change(step.table, step.place, step.target);
        return;
      case 'tlbi':
        this.#tlbi(step.kind, step.guest, step.place);
        return;
      case 'move':
        this.bench.shadow.unmapAll();
        this.#moves[step.target] += 1;
        return;
    }
  }

  text(step: NestedStep): string {
    return stepText(step, (place) => this.address(place));
  }

  /** What the host maps at an IPA of the VM: pages that move and are read-only now and then, else blocks one to one. */
  hostLeaf(ipa: number): HostLeaf {
    const page = entrySpan(this.#options.hostGranule, 3);
    const target = Math.floor(ipa / this.#targetBytes);
    if (target >= TARGETS) return flat(entrySpan(this.#options.hostGranule, 2))(ipa);
    const start = Math.floor(ipa / page) * page;
    const output = start + HOST_OFFSET * (1 + this.#moves[target]);
    return { start, bytes: page, output, rights: target === 0 && this.#moves[0] % 2 === 1 ? { ...ALL, write: false } : ALL };
  }

  /** Targets are as large as the larger block of the two. */
  get #targetBytes(): number {
    const { granule, hostGranule } = this.#options;
    return Math.max(entrySpan(granule, 2), entrySpan(hostGranule, 2));
  }

  #state(guest: number): NestedState {
    const { vmid, table } = WORLD_GUESTS[guest];
    if (table === undefined) return stage2Off(vmid);
    const { vttbr, vtcr } = this.#stage2[table].state;
    return { vttbr: vttbrOf(vmid, Number(vttbr % 2n ** 48n)), vtcr, stage2: true };
  }

  /** Both tables begin with every place mapped, and no place alike. */
  #start(table: number, place: number): Entry {
    return this.#write(table, place, (Math.min(place, 2) + 2 * table) % TARGETS);
  }

  #write(table: number, place: number, target: number): Entry {
    const { granule } = this.#options;
    const level: Level = place < 2 ? 3 : 2;
    const bytes = entrySpan(granule, level);
    const start = Math.floor(this.address(place) / bytes) * bytes;
    const output = target * this.#targetBytes;
    const rights = TARGET_RIGHTS[target];
    const { executeEl1: px, executeEl0: ux } = rights;
    this.#stage2[table].tables.map(start, level, output, { ...rights, px, ux, af: this.#options.ha !== true });
    return { start, end: start + bytes, output, rights };
  }

  #enter(vcpu: number, guest: number): void {
    if (this.#inside[vcpu] !== undefined) this.bench.shadow.put(vcpu);
    this.#inside[vcpu] = { guest, context: this.bench.enter(vcpu, this.#state(guest)).index };
  }

  /** The entry of a place, and what else of it guests may find: break, then make. */
  #change(table: number, place: number, target: number | undefined): void {
    const places = place < 2 ? [place] : [2, 3];
    const old = this.#now[table][place];
    if (old !== undefined) {
      for (const [guest, each] of WORLD_GUESTS.entries()) if (each.table === table) this.#stale[guest].push(old);
    }
    const { tables } = this.#stage2[table];
    if (target === undefined) tables.put(tables.at(this.address(place), place < 2 ? 3 : 2), 0n);
    const entry = target === undefined ? undefined : this.#write(table, place, target);
    for (const each of places) this.#now[table][each] = entry;
  }

  #tlbi(kind: 'address' | 'vmid' | 'all', guest: number, place: number): void {
    const name = { address: 'IPAS2E1IS', vmid: 'VMALLS12E1IS', all: 'ALLE1IS' }[kind];
    const operand = kind === 'address' ? byIpa(this.address(place)) : 0n;
    const outcome = this.bench.shadow.tlbi(this.#state(guest), name, operand);
    ensure('tlbi.done', outcome.kind === 'done', () => `TLBI ${name} is ${outcome.kind}`);
    const at = this.address(place);
    for (const [index, { vmid }] of WORLD_GUESTS.entries()) {
      if (kind !== 'all' && vmid !== WORLD_GUESTS[guest].vmid) continue;
      this.#stale[index] = kind === 'address' ? this.#stale[index].filter(({ start, end }) => at < start || at >= end) : [];
    }
  }

  #access(vcpu: number, place: number, access: Access): void {
    const inside = this.#inside[vcpu];
    if (inside === undefined) return;
    const { guest, context } = inside;
    const at = this.address(place);
    this.#judge(guest, at, access, this.bench.access(vcpu, context, at, access));
  }

  /** What an address of a guest may stand for now: what its table says, and what that said until it is invalidated. */
  #possible(guest: number, at: number): readonly (Entry | undefined)[] {
    const { table } = WORLD_GUESTS[guest];
    if (table === undefined) return [{ start: 0, end: 2 ** 40, output: 0, rights: ALL }];
    const now = this.#now[table].find((entry) => entry !== undefined && at >= entry.start && at < entry.end);
    return [now, ...this.#stale[guest].filter(({ start, end }) => at >= start && at < end)];
  }

  #judge(guest: number, at: number, access: Access, reach: Reach): void {
    const possible = this.#possible(guest, at).map((entry) => this.#composed(entry, at));
    const outputs = possible.map((each) => each?.output);
    if (reach.kind === 'reached') {
      const { output, rights } = reach;
      ensure('composition.address', outputs.includes(output), () => this.#elsewhere(output, outputs));
      const fits = possible.some((each) => each?.output === output && allows(each.rights, access));
      ensure('composition.rights', fits, () => `A ${access.type} is let through that one of the two stages denies.`);
      const within = rights === undefined || possible.some((each) => each?.output === output && isWithin(rights, each.rights));
      ensure('composition.more-rights', within, () => 'The shadow permits more than both stages do.');
      return;
    }
    const denied = possible.some((each) => each === undefined || !allows(each.rights, access));
    ensure('composition.reaches', denied, () => `A ${access.type} that both stages permit is not let through (${reach.kind}).`);
  }

  #composed(entry: Entry | undefined, at: number): { readonly output: number; readonly rights: Rights } | undefined {
    if (entry === undefined) return undefined;
    const ipa = entry.output + (at - entry.start);
    const host = this.hostLeaf(ipa);
    return { output: host.output + (ipa - host.start), rights: both(entry.rights, host.rights) };
  }

  #elsewhere(output: number, outputs: readonly (number | undefined)[]): string {
    const [reached, due] = [this.#where(output), outputs.map((each) => this.#where(each)).join(' or ')];
    return reached === due ? `It reaches ${hex(output)}, beside what its stage 2 says.` : `It reaches ${reached}; its stage 2 says ${due}.`;
  }

  /** An output as people call it: the page of the VM's memory that it belongs to. */
  #where(output: number | undefined): string {
    if (output === undefined) return 'nothing';
    const target = Math.floor((output % HOST_OFFSET) / this.#targetBytes);
    return target < TARGETS ? `page ${target}` : hex(output);
  }
}

function isWithin(has: Rights, may: Rights): boolean {
  return (!has.read || may.read) && (!has.write || may.write) && (!has.executeEl1 || may.executeEl1) && (!has.executeEl0 || may.executeEl0);
}
