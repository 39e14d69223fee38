import { parseWord } from '@granule/geometry/bits';
import type { TraceEvent } from './trace.js';

/**
 * How a field is printed and what it becomes. `address`: with `0x`, or decimal (libtraceevent prints zero without `0x`), a number, exact below 2^53. `word`: the
 * same as a bigint, for kernel pointers and for `prot`, whose software bits are 55…58. `bare`, `bareWord`: the two for a format without `0x` (%lx).
 * `int`: decimal, signed. `text`: as it stands. `switch`: on or off.
 */
export type Kind = 'address' | 'word' | 'bare' | 'bareWord' | 'int' | 'text' | 'switch';

type ValueOf<K extends Kind> = K extends 'address' | 'bare' | 'int'
  ? number
  : K extends 'word' | 'bareWord'
    ? bigint
    : K extends 'switch'
      ? boolean
      : string;

/** A field that not every kernel's function has. */
type Optional = `${Kind}?`;

const table = { pgt: 'word', addr: 'address', size: 'address' } as const;
const mapping = { ...table, phys: 'address', prot: 'word' } as const;
const kernelRange = { start: 'word', end: 'word' } as const;
const kernelPage = { va: 'word', size: 'address' } as const;
/** Probes of one stage 2 may print its table and its root besides. */
const stage2 = { mmu: 'word', pgt: 'word?', pgd_phys: 'address?' } as const;
const byAddress = { mmu: 'word', ipa: 'address', level: 'int', pgt: 'word?', pgd_phys: 'address?' } as const;
const result = { ret: 'int' } as const;

/** Probes at the entry of a function, `(place) name=value …`, and at its return (`_ret`). Fields that a probe does not print are refused but for
 * the optional ones, others ignored. */
export const PROBES = {
  s2_init: { pgt: 'word', mmu: 'word', flags: 'address?' },
  s2_map: { ...mapping, flags: 'address?' },
  s2_map_ret: result,
  s2_unmap: table,
  s2_unmap_ret: result,
  s2_wrprotect: table,
  s2_wrprotect_ret: result,
  s2_relax_perms: { pgt: 'word', addr: 'address', prot: 'word', flags: 'address?' },
  s2_relax_perms_ret: result,
  s2_mkyoung: { pgt: 'word', addr: 'address', flags: 'address?' },
  s2_test_clear_young: { ...table, mkold: 'address' },
  s2_test_clear_young_ret: result,
  s2_flush: table,
  s2_flush_ret: result,
  s2_split: table,
  s2_split_ret: result,
  s2_destroy_range: table,
  s2_destroy_pgd: { pgt: 'word' },
  s2_free_unlinked: { table: 'word', level: 'int' },
  s2_annotate: table,
  s2_annotate_ret: result,
  hyp_init: { pgt: 'word', va_bits: 'int' },
  hyp_map: mapping,
  hyp_map_ret: result,
  hyp_unmap: table,
  hyp_unmap_ret: result,
  flush_vmid: stage2,
  flush_vmid_ipa: byAddress,
  flush_vmid_ipa_nsh: byAddress,
  flush_vmid_range: stage2,
  flush_cpu_context: { ...stage2, pgd_phys: 'address' },
  dcache_clean_inval_poc: kernelRange,
  dcache_clean_pou: kernelRange,
  icache_inval_pou: kernelRange,
  clean_dcache_guest_page: kernelPage,
  invalidate_icache_guest_page: kernelPage,
  set_way_flush: {},
  toggle_cache: { was: 'int' },
  stage2_flush_vm: {},
  unmap_stage2_range: { ...stage2, start: 'address', size: 'address', block: 'address?' },
  phys_addr_ioremap: {},
  nested_s2_unmap: { block: 'address?' },
  nested_s2_wp: {},
  nested_s2_flush: {},
  lookup_s2_mmu: {},
  lookup_s2_mmu_ret: { mmu: 'word' },
  s2_mmu_iterate_by_vmid: { vmid: 'address' },
  walk_nested_s2: { ipa: 'address' },
} as const satisfies Record<string, Readonly<Record<string, Kind | Optional>>>;

/** Tracepoints of KVM: Linux arch/arm64/kvm/trace_arm.h and trace_handle_exit.h, include/trace/events/kvm.h; 4.x forms arch/arm/kvm/trace.h. */
const range = { start: 'address', end: 'address' } as const;
const TEXTS = {
  tracing_mark_write: [/^(.*)$/u, { mark: 'text' }],
  kvm_guest_fault: [
    /^ipa (\w+), hsr (\w+), hxfar (\w+), pc (\w+)/u,
    { ipa: 'address', hsr: 'address', hxfar: 'word', pc: 'word' },
  ],
  kvm_access_fault: [/^IPA: (\w+)/u, { ipa: 'bare' }],
  kvm_set_way_flush: [/^S\/W flush at (\w+) \(cache (\w+)\)/u, { pc: 'word', cache: 'switch' }],
  kvm_toggle_cache: [/^VM op at (\w+) \(cache was (\w+), now (\w+)\)/u, { pc: 'word', was: 'switch', now: 'switch' }],
  kvm_unmap_hva_range: [/^mmu notifier unmap range: (\w+) -- (\w+)/u, range],
  kvm_age_hva: [/^mmu notifier age hva: (\w+) -- (\w+)/u, range],
  kvm_test_age_hva: [/^mmu notifier test age hva: (\w+)/u, { hva: 'address' }],
  kvm_unmap_hva: [/^mmu notifier unmap hva: (\w+)/u, { hva: 'address' }],
  kvm_set_spte_hva: [/^mmu notifier set pte hva: (\w+)/u, { hva: 'address' }],
  kvm_mmio_nisv: [
    /^ipa (\w+), esr (\w+), far (\w+), pc (\w+)/u,
    { ipa: 'address', esr: 'word', far: 'word', pc: 'word' },
  ],
  kvm_mmio: [
    /^mmio ([\w-]+) len (\d+) gpa (\w+) val (\w+)/u,
    { access: 'text', length: 'int', gpa: 'address', value: 'word' },
  ],
  kvm_entry: [/^PC: (\w+)/u, { pc: 'word' }],
  kvm_exit: [
    /^([^:]+): HSR_EC: (\w+) \(([^)]*)\), PC: (\w+)/u,
    { exit: 'text', ec: 'address', name: 'text', pc: 'word' },
  ],
  kvm_userspace_exit: [/^reason (\S+) \((-?\d+)\)/u, { reason: 'text', code: 'int' }],
  kvm_sys_access: [
    /^PC: (\w+) (.*) \((\d+),(\d+),(\d+),(\d+),(\d+)\) (read|write)/u,
    { pc: 'bareWord', name: 'text', op0: 'int', op1: 'int', crn: 'int', crm: 'int', op2: 'int', access: 'text' },
  ],
  kvm_nested_eret: [
    /^elr_el2: (\w+) spsr_el2: (\w+) \(M: ([^)]*)\) hcr_el2: (\w+)/u,
    { elr: 'word', spsr: 'word', mode: 'text', hcr: 'bareWord' },
  ],
  kvm_inject_nested_exception: [
    /^([^:]+): esr_el2 (\w+) elr_el2: (\w+) spsr_el2: (\w+) \(M: ([^)]*)\) hcr_el2: (\w+)/u,
    { exception: 'text', esr: 'word', elr: 'word', spsr: 'word', mode: 'text', hcr: 'bareWord' },
  ],
} as const satisfies Record<string, readonly [RegExp, Readonly<Record<string, Kind>>]>;

type FieldsOf<T> =
  & { readonly [F in keyof T as T[F] extends Kind ? F : never]: T[F] extends Kind ? ValueOf<T[F]> : never }
  & { readonly [F in keyof T as T[F] extends Optional ? F : never]?: T[F] extends `${infer K}?` ? ValueOf<K & Kind> : never };
interface FieldTable extends Readonly<ProbeFields>, Readonly<TextFields> {}
type ProbeFields = { [N in keyof typeof PROBES]: FieldsOf<(typeof PROBES)[N]> };
type TextFields = { [N in keyof typeof TEXTS]: FieldsOf<(typeof TEXTS)[N][1]> };

/** Names of the events that {@link decodeTraceEvent} knows. */
export type TraceEventName = keyof FieldTable;
export type TraceFields<N extends TraceEventName> = FieldTable[N];

/** A known event with its fields; `event` tells which. */
export type DecodedEvent = { [N in TraceEventName]: { readonly event: N; readonly fields: TraceFields<N> } }[TraceEventName];

/** Whether an event of this name can be decoded. */
export function isKnownEvent(event: string): event is TraceEventName {
  return Object.hasOwn(PROBES, event) || Object.hasOwn(TEXTS, event);
}

/** The fields of a known event; undefined where the event is unknown or its text is torn. */
export function decodeTraceEvent({ event, text }: Pick<TraceEvent, 'event' | 'text'>): DecodedEvent | undefined {
  const fields = Object.hasOwn(PROBES, event)
    ? probeFields(PROBES[event as keyof typeof PROBES], text)
    : Object.hasOwn(TEXTS, event)
      ? textFields(TEXTS[event as keyof typeof TEXTS], text)
      : undefined;
  return fields && ({ event, fields } as DecodedEvent);
}

/**
 * The first field of a known event that is missing, cut off, or beyond 2^53; undefined where there is none. An event that is a sentence is read as a whole: of it
 * the answer is `text`.
 */
export function tornField({ event, text }: Pick<TraceEvent, 'event' | 'text'>): string | undefined {
  if (!isKnownEvent(event) || decodeTraceEvent({ event, text }) !== undefined) {
    return undefined;
  }
  const kinds: Readonly<Record<string, Kind | Optional>> | undefined = Object.hasOwn(PROBES, event) ? PROBES[event as keyof typeof PROBES] : undefined;
  const torn = Object.entries(kinds ?? {}).find(([name, kind]) => probeFields({ [name]: kind }, text) === undefined);
  return torn?.[0] ?? 'text';
}

type Value = ValueOf<Kind>;

function probeFields(kinds: Readonly<Record<string, Kind | Optional>>, text: string): Record<string, Value> | undefined {
  const printed = new Map(Array.from(text.matchAll(/(\w+)=(\S+)/gu), ([, name, value]) => [name, value]));
  const asked = Object.entries(kinds).filter(([name, kind]) => !kind.endsWith('?') || printed.has(name));
  return fieldsOf(asked.map(([name, kind]) => [name, kind.replace('?', '') as Kind, printed.get(name)]));
}

function textFields([pattern, kinds]: readonly [RegExp, Readonly<Record<string, Kind>>], text: string): Record<string, Value> | undefined {
  const match = pattern.exec(text);
  return match === null ? undefined : fieldsOf(Object.entries(kinds).map(([name, kind], i) => [name, kind, match[i + 1]]));
}

function fieldsOf(printed: readonly (readonly [string, Kind, string | undefined])[]): Record<string, Value> | undefined {
  const fields: Record<string, Value> = {};
  for (const [name, kind, text] of printed) {
    const value = text === undefined ? undefined : valueOf(kind, text);
    if (value === undefined) {
      return undefined;
    }
    fields[name] = value;
  }
  return fields;
}

/** Widths, `0x` included, to which a number with leading zeros is padded: 0x%04x, %#08lx, 0x%08x, %#016lx, 0x%016lx. Another one is cut off. */
const PADDED: readonly number[] = [6, 8, 10, 16, 18];

function isCutOff(text: string): boolean {
  return /^0x0./u.test(text) && !PADDED.includes(text.length);
}

function valueOf(kind: Kind, text: string): Value | undefined {
  switch (kind) {
    case 'address':
      return isCutOff(text) ? undefined : exactNumber(parseWord(text));
    case 'bare':
      return exactNumber(parseWord(`0x${text}`));
    case 'word':
      return isCutOff(text) ? undefined : parseWord(text);
    case 'bareWord':
      return parseWord(`0x${text}`);
    case 'int':
      return /^-?\d{1,15}$/u.test(text) ? Number(text) : undefined;
    case 'text':
      return text;
    case 'switch':
      return text === 'on' ? true : text === 'off' ? false : undefined;
  }
}

function exactNumber(word: bigint | undefined): number | undefined {
  return word !== undefined && word <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(word) : undefined;
}
