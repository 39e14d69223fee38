import type { DecodedEvent, TraceFields } from './trace-events.js';
import type { TraceEvent } from './trace.js';

/** KVM's tracepoints about memory: those whose text {@link traceText} prints. */
export type PrintedEvent = Extract<
  DecodedEvent,
  {
    event:
      | 'tracing_mark_write' | 'kvm_guest_fault' | 'kvm_access_fault' | 'kvm_set_way_flush' | 'kvm_toggle_cache' | 'kvm_unmap_hva_range' | 'kvm_age_hva'
      | 'kvm_test_age_hva' | 'kvm_mmio_nisv' | 'kvm_mmio';
  }
>;

/** %#0Wlx: `0x` and zeros up to a width of W. */
const wide = (value: number | bigint, width: number): string => `0x${value.toString(16).padStart(width - 2, '0')}`;
const plain = (value: number | bigint): string => wide(value, 0);
const onOff = (on: boolean): string => (on ? 'on' : 'off');
const range = ({ start, end }: { readonly start: number; readonly end: number }): string => `${wide(start, 16)} -- ${wide(end, 16)}`;

/** The text of a tracepoint as the kernel prints it. Sources: Linux arch/arm64/kvm/trace_arm.h, trace_handle_exit.h, include/trace/events/kvm.h. */
export function traceText({ event, fields }: PrintedEvent): string {
  switch (event) {
    case 'tracing_mark_write':
      return fields.mark;
    case 'kvm_guest_fault':
      return guestFault(fields);
    case 'kvm_access_fault':
      return `IPA: ${fields.ipa.toString(16)}`;
    case 'kvm_set_way_flush':
      return `S/W flush at 0x${fields.pc.toString(16).padStart(16, '0')} (cache ${onOff(fields.cache)})`;
    case 'kvm_toggle_cache':
      return `VM op at 0x${fields.pc.toString(16).padStart(16, '0')} (cache was ${onOff(fields.was)}, now ${onOff(fields.now)})`;
    case 'kvm_unmap_hva_range':
      return `mmu notifier unmap range: ${range(fields)}`;
    case 'kvm_age_hva':
      return `mmu notifier age hva: ${range(fields)}`;
    case 'kvm_test_age_hva':
      return `mmu notifier test age hva: ${wide(fields.hva, 16)}`;
    case 'kvm_mmio_nisv':
      return `ipa ${wide(fields.ipa, 16)}, esr ${wide(fields.esr, 16)}, far ${wide(fields.far, 16)}, pc ${wide(fields.pc, 16)}`;
    case 'kvm_mmio':
      return `mmio ${fields.access} len ${fields.length} gpa ${plain(fields.gpa)} val ${plain(fields.value)}`;
  }
}

function guestFault({ ipa, hsr, hxfar, pc }: TraceFields<'kvm_guest_fault'>): string {
  return `ipa ${plain(ipa)}, hsr ${wide(hsr, 8)}, hxfar ${wide(hxfar, 8)}, pc ${wide(pc, 16)}`;
}

/** One line of an ftrace text: `task-pid [cpu] flags time: event: text` (trace_print_context of Linux kernel/trace/trace_output.c). */
export function traceLine({ task, pid, cpu, flags, time, event, text }: Omit<TraceEvent, 'number' | 'line'>): string {
  const where = `${task.padStart(16)}-${String(pid).padEnd(7)} [${String(cpu).padStart(3, '0')}] ${flags === '' ? '' : `${flags} `}`;
  return `${where}${time.toFixed(6).padStart(12)}: ${event}: ${text}`;
}
