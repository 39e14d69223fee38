import { PROBES, type DecodedEvent, type TraceFields } from './trace-events.js';
import type { TraceEvent } from './trace.js';

/** Names of the events that are probes of functions. */
type ProbeName = keyof typeof PROBES;
type Tracepoint = Exclude<DecodedEvent, { event: ProbeName }>;
type EntryName = Exclude<ProbeName, `${string}_ret`>;

/** The function of the kernel behind each probe (Linux 7.2: arch/arm64/kvm/hyp/pgtable.c, mmu.c, nested.c; arch/arm64/mm/cache.S). */
const FUNCTIONS: Readonly<Record<EntryName, string>> = {
  s2_init: '__kvm_pgtable_stage2_init',
  s2_map: 'kvm_pgtable_stage2_map',
  s2_unmap: 'kvm_pgtable_stage2_unmap',
  s2_wrprotect: 'kvm_pgtable_stage2_wrprotect',
  s2_relax_perms: 'kvm_pgtable_stage2_relax_perms',
  s2_mkyoung: 'kvm_pgtable_stage2_mkyoung',
  s2_test_clear_young: 'kvm_pgtable_stage2_test_clear_young',
  s2_flush: 'kvm_pgtable_stage2_flush',
  s2_split: 'kvm_pgtable_stage2_split',
  s2_destroy_range: 'kvm_pgtable_stage2_destroy_range',
  s2_destroy_pgd: 'kvm_pgtable_stage2_destroy_pgd',
  s2_free_unlinked: 'kvm_pgtable_stage2_free_unlinked',
  s2_annotate: 'kvm_pgtable_stage2_annotate',
  hyp_init: 'kvm_pgtable_hyp_init',
  hyp_map: 'kvm_pgtable_hyp_map',
  hyp_unmap: 'kvm_pgtable_hyp_unmap',
  flush_vmid: '__kvm_tlb_flush_vmid',
  flush_vmid_ipa: '__kvm_tlb_flush_vmid_ipa',
  flush_vmid_ipa_nsh: '__kvm_tlb_flush_vmid_ipa_nsh',
  flush_vmid_range: '__kvm_tlb_flush_vmid_range',
  flush_cpu_context: '__kvm_flush_cpu_context',
  dcache_clean_inval_poc: 'dcache_clean_inval_poc',
  dcache_clean_pou: 'dcache_clean_pou',
  icache_inval_pou: 'icache_inval_pou',
  clean_dcache_guest_page: 'clean_dcache_guest_page',
  invalidate_icache_guest_page: 'invalidate_icache_guest_page',
  set_way_flush: 'kvm_set_way_flush',
  toggle_cache: 'kvm_toggle_cache',
  stage2_flush_vm: 'stage2_flush_vm',
  unmap_stage2_range: '__unmap_stage2_range',
  phys_addr_ioremap: 'kvm_phys_addr_ioremap',
  nested_s2_unmap: 'kvm_nested_s2_unmap',
  nested_s2_wp: 'kvm_nested_s2_wp',
  nested_s2_flush: 'kvm_nested_s2_flush',
  lookup_s2_mmu: 'lookup_s2_mmu',
  s2_mmu_iterate_by_vmid: 'kvm_s2_mmu_iterate_by_vmid',
  walk_nested_s2: 'kvm_walk_nested_s2',
};

/** %#0Wlx: `0x` and zeros up to a width of W. */
const wide = (value: number | bigint, width: number): string => `0x${value.toString(16).padStart(width - 2, '0')}`;
const plain = (value: number | bigint): string => wide(value, 0);
/** 0x%0Wlx: zeros up to a width of W, `0x` not counted. */
const padded = (value: number | bigint, width: number): string => wide(value, width + 2);
const bare = (value: number | bigint): string => value.toString(16);
const onOff = (on: boolean): string => (on ? 'on' : 'off');
const range = ({ start, end }: { readonly start: number; readonly end: number }): string => `${wide(start, 16)} -- ${wide(end, 16)}`;

/**
 * The text of an event as the kernel prints it: tracepoints by their formats, probes with their place (the offset, and the caller of a return, are not known:
 * 0x0). Sources: Linux arch/arm64/kvm/trace_arm.h, trace_handle_exit.h, include/trace/events/kvm.h; kernel/trace/trace_kprobe.c print_kprobe_event.
 */
export function traceText(decoded: DecodedEvent): string {
  return isProbe(decoded) ? probeText(decoded) : tracepointText(decoded);
}

function isProbe(decoded: DecodedEvent): decoded is Extract<DecodedEvent, { event: ProbeName }> {
  return Object.hasOwn(PROBES, decoded.event);
}

function probeText({ event, fields }: Extract<DecodedEvent, { event: ProbeName }>): string {
  const values = fields as Readonly<Record<string, number | bigint>>;
  const kinds = Object.entries(PROBES[event] as Readonly<Record<string, string>>).filter(([name]) => name in values);
  const printed = kinds.map(([name, kind]) => ` ${name}=${kind === 'int' ? String(values[name]) : plain(values[name])}`).join('');
  const ret = event.endsWith('_ret');
  const name = FUNCTIONS[(ret ? event.slice(0, -'_ret'.length) : event) as EntryName];
  return `(${ret ? `0x0 <- ${name}` : `${name}+0x0/0x0`})${printed}`;
}

/** The format of each tracepoint. */
const TEXTS: { readonly [N in Tracepoint['event']]: (fields: TraceFields<N>) => string } = {
  tracing_mark_write: ({ mark }) => mark,
  kvm_guest_fault: ({ ipa, hsr, hxfar, pc }) => `ipa ${plain(ipa)}, hsr ${wide(hsr, 8)}, hxfar ${wide(hxfar, 8)}, pc ${wide(pc, 16)}`,
  kvm_access_fault: ({ ipa }) => `IPA: ${bare(ipa)}`,
  kvm_set_way_flush: ({ pc, cache }) => `S/W flush at ${padded(pc, 16)} (cache ${onOff(cache)})`,
  kvm_toggle_cache: ({ pc, was, now }) => `VM op at ${padded(pc, 16)} (cache was ${onOff(was)}, now ${onOff(now)})`,
  kvm_unmap_hva_range: (fields) => `mmu notifier unmap range: ${range(fields)}`,
  kvm_age_hva: (fields) => `mmu notifier age hva: ${range(fields)}`,
  kvm_test_age_hva: ({ hva }) => `mmu notifier test age hva: ${wide(hva, 16)}`,
  kvm_unmap_hva: ({ hva }) => `mmu notifier unmap hva: ${wide(hva, 8)}`,
  kvm_set_spte_hva: ({ hva }) => `mmu notifier set pte hva: ${wide(hva, 8)}`,
  kvm_mmio_nisv: ({ ipa, esr, far, pc }) => `ipa ${wide(ipa, 16)}, esr ${wide(esr, 16)}, far ${wide(far, 16)}, pc ${wide(pc, 16)}`,
  kvm_mmio: ({ access, length, gpa, value }) => `mmio ${access} len ${length} gpa ${plain(gpa)} val ${plain(value)}`,
  kvm_entry: ({ pc }) => `PC: ${padded(pc, 16)}`,
  kvm_exit: ({ exit, ec, name, pc }) => `${exit}: HSR_EC: ${padded(ec, 4)} (${name}), PC: ${padded(pc, 16)}`,
  kvm_userspace_exit: ({ reason, code }) => `reason ${reason} (${code})`,
  kvm_sys_access: ({ pc, name, op0, op1, crn, crm, op2, access }) => `PC: ${bare(pc)} ${name} (${op0},${op1},${crn},${crm},${op2}) ${access}`,
  kvm_nested_eret: ({ elr, spsr, mode, hcr }) => `elr_el2: ${plain(elr)} spsr_el2: ${padded(spsr, 8)} (M: ${mode}) hcr_el2: ${bare(hcr)}`,
  kvm_inject_nested_exception: ({ exception, esr, elr, spsr, mode, hcr }) =>
    `${exception}: esr_el2 ${plain(esr)} elr_el2: ${plain(elr)} spsr_el2: ${padded(spsr, 8)} (M: ${mode}) hcr_el2: ${bare(hcr)}`,
};

function tracepointText({ event, fields }: Tracepoint): string {
  return (TEXTS[event] as (fields: Tracepoint['fields']) => string)(fields);
}

/** One line of an ftrace text: `task-pid [cpu] flags time: event: text` (trace_print_context of Linux kernel/trace/trace_output.c). */
export function traceLine({ task, pid, cpu, flags, time, event, text }: Omit<TraceEvent, 'number' | 'line'>): string {
  const where = `${task.padStart(16)}-${String(pid).padEnd(7)} [${String(cpu).padStart(3, '0')}] ${flags === '' ? '' : `${flags} `}`;
  return `${where}${time.toFixed(6).padStart(12)}: ${event}: ${text}`;
}

/** An event on its way into a trace: what happened, to whom, when. */
export type PrintableEvent = DecodedEvent & { readonly at: Pick<TraceEvent, 'task' | 'pid' | 'cpu' | 'time'> & { readonly flags?: string } };

/** What the kernel puts above the events of a `trace` file (trace_print_header, print_func_help_header_irq of Linux kernel/trace/trace.c). */
const HEADING = [
  '#                                _-----=> irqs-off/BH-disabled',
  '#                               / _----=> need-resched',
  '#                              | / _---=> hardirq/softirq',
  '#                              || / _--=> preempt-depth',
  '#                              ||| / _-=> migrate-disable',
  '#                              |||| /     delay',
  '#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION',
  '#              | |         |   |||||     |         |',
];

/** Lines of an ftrace text, heading included, as the file `trace` of a kernel has them. */
export function* printTrace(events: readonly PrintableEvent[]): Generator<string> {
  const cpus = new Set(events.map(({ at }) => at.cpu));
  yield '# tracer: nop';
  yield '#';
  yield `# entries-in-buffer/entries-written: ${events.length}/${events.length}   #P:${Math.max(1, cpus.size)}`;
  yield '#';
  yield* HEADING;
  for (const { at, ...decoded } of events) {
    yield traceLine({ flags: '.....', ...at, event: decoded.event, text: traceText(decoded) });
  }
}
