import { armv8 } from '@granule/armv8';
import type { Effect, EffectSink, Features, Outcome, TlbiEffect } from '@granule/contract';
import type { Granule } from '@granule/geometry';
import { createTableArena } from '@granule/memory';
import {
  Backing, createVm, type HostProfile, kernelProfile, type PolicyEvent, setMemoryRegion, type Vcpu, type Vm, VmidAllocator, type VmOptions,
} from '../src/index.js';

export const K = 2 ** 10;
export const M = 2 ** 20;
export const G = 2 ** 30;

export function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'done') {
    throw new Error(`${outcome.id}: ${outcome.sentence}`);
  }
  return outcome.value;
}

/** A machine without any optional feature that this package looks at. */
export const PLAIN: Features = {
  ...armv8.registers.features({ ID_AA64MMFR0_EL1: 0x10_1125n, CTR_EL0: 0x8444_c004n }),
  granules1: ['4K', '16K', '64K'],
  granules2: ['4K', '16K', '64K'],
  paBits: 48,
  haf: false,
  ttl: true,
};

export function hostOf(granule: Granule, features: Partial<Features> = {}, vaBits = 48): HostProfile {
  return { granule, vaBits, features: { ...PLAIN, ...features }, hardwareAccessFlag: true, tlbRange: true };
}

/** Effects, and TLB invalidations one by one. */
export class Counter implements EffectSink {
  readonly tlbi: Record<string, number> = {};
  readonly cmo: Record<string, number> = {};
  readonly effects: Effect[] = [];

  effect(effect: Effect): void {
    this.effects.push(effect);
    if (effect.type === 'write') {
      [...(effect.before ?? []), ...(effect.after ?? [])].forEach((each) => this.#count(each, effect.count));
    } else {
      this.#count(effect, 1);
    }
  }

  #count(effect: Effect, times: number): void {
    if (effect.type === 'tlbi') {
      this.tlbi[this.#name(effect)] = (this.tlbi[this.#name(effect)] ?? 0) + times;
    } else if (effect.type === 'cmo') {
      this.cmo[effect.op] = (this.cmo[effect.op] ?? 0) + times;
    }
  }

  #name({ op, level }: TlbiEffect): string {
    return op === 'IPAS2E1IS' ? `${op} ${level === undefined ? 'table' : 'leaf'}` : op;
  }

  reset(): void {
    [this.tlbi, this.cmo].forEach((counts) => Object.keys(counts).forEach((name) => Reflect.deleteProperty(counts, name)));
    this.effects.length = 0;
  }
}

export interface Bench {
  readonly vm: Vm;
  readonly vcpu: Vcpu;
  readonly host: Backing;
  readonly events: PolicyEvent[];
  readonly sink: Counter;
  /** Events since the last time, as texts: name and the fields that are asked for. */
  told(): string[];
}

/** A VM on a 4K host with nothing mapped. */
export function bench(options: Partial<VmOptions> & { readonly granule?: Granule; readonly features?: Partial<Features> } = {}): Bench {
  const { granule = '4K', features = {}, ...rest } = options;
  const profile = rest.host ?? hostOf(granule, features);
  const pageShift = { '4K': 12, '16K': 14, '64K': 16 }[profile.granule];
  const host = new Backing(2 ** pageShift);
  const events: PolicyEvent[] = [];
  const sink = new Counter();
  const vm = valueOf(
    createVm({
      backend: armv8, kernel: kernelProfile('7.2.13'), host: profile, memory: createTableArena({ pageShift }), hostMemory: host,
      vmids: new VmidAllocator(profile.features.vmidBits), sink, trace: (event) => events.push(event), ...rest,
    }),
  );
  const told = (): string[] => events.splice(0).map(({ event, fields }) => [event, ...Object.values(fields).map(show)].join(' '));
  told();
  sink.reset();
  return { vm, vcpu: vm.addVcpu(), host, events, sink, told };
}

function show(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'bigint') {
    return `0x${value.toString(16)}`;
  }
  return typeof value === 'object' && value !== null
    ? Object.entries(value).map(([name, each]) => (each === true ? name : each === false ? '' : String(each))).filter((each) => each !== '').join('+')
    : String(value);
}

/** Anonymous memory in one slot: 2 MiB host pages unless told otherwise. */
export function withMemory({ vm, host }: Bench, at: { ipa?: number; hva?: number; bytes?: number; physical?: number; leafBytes?: number } = {}): void {
  const { ipa = 1 * G, hva = 0x7f00_0000_0000, bytes = 64 * M, physical = 2 * G, leafBytes = 2 * M } = at;
  host.add({ start: hva, bytes, kind: 'anonymous', pageBytes: 2 * M, memory: 'normal', writable: true, physical, leafBytes });
  valueOf(setMemoryRegion(vm, { slot: vm.slots.count, ipa, size: bytes, hva }));
}

/** ESR_EL2 of aborts from a lower level (DDI 0487, ESR_EL2): EC 0x20 or 0x24, IL, and the ISS fields that are named. */
export function esr(fsc: number, { fetch = false, write = false, s1ptw = false, cm = false, sas = -1 } = {}): bigint {
  const iss = fsc | (write ? 0x40 : 0) | (s1ptw ? 0x80 : 0) | (cm ? 0x100 : 0) | (sas >= 0 ? 0x100_0000 | (sas << 22) : 0);
  return (BigInt(fetch ? 0x20 : 0x24) << 26n) | (1n << 25n) | BigInt(iss);
}

/** Fault status codes (DDI 0487, ESR_EL2.DFSC). */
export const TRANSLATION = 4;
export const ACCESS_FLAG = 8;
export const PERMISSION = 12;
