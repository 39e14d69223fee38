import { decodeTraceEvent, type DecodedEvent, parseTraceLine, type PrintableEvent, printTrace, readTrace, traceLine, traceText } from '@granule/snapshot';
import { describe, expect, it } from 'vitest';
import { sampleText } from './samples.js';

/** Lines of recorded traces (Linux 7.2), one or more of each tracepoint. */
const LINES = [
  '             vmm-60      [000] ...2.     6.837816: tracing_mark_write: hold c1',
  '             vmm-60      [000] .....     7.094619: kvm_guest_fault: ipa 0x80000000, hsr 0x82000005, hxfar 0x80000000, pc 0x00000080000000',
  '             vmm-60      [000] .....    28.000000: kvm_guest_fault: ipa 0x40c00000, hsr 0x93c1804e, hxfar 0x8000c00008, pc 0x00000080001458',
  '             vmm-60      [000] d..1.     3.597842: kvm_access_fault: IPA: c0204000',
  '             vmm-60      [000] .....     6.870625: kvm_unmap_hva_range: mmu notifier unmap range: 0x00ffffb2000000 -- 0x00ffffb2400000',
  '             vmm-60      [000] .....     2.870625: kvm_age_hva: mmu notifier age hva: 0x00ffff8e001000 -- 0x00ffff8e002000',
  '             vmm-60      [000] d....     7.156549: kvm_set_way_flush: S/W flush at 0x00000000800017d4 (cache on)',
  '             vmm-60      [000] d....     7.156549: kvm_toggle_cache: VM op at 0x00000000800012e0 (cache was on, now off)',
  '             vmm-60      [000] .....    27.907513: kvm_mmio: mmio write len 4 gpa 0x9000000 val 0xdead',
  '             vmm-59      [000] ...1.     2.095598: kvm_exit: TRAP: HSR_EC: 0x0020 (IABT_LOW), PC: 0x0000000080000000',
];

const decoded = (line: string): DecodedEvent => decodeTraceEvent(parseTraceLine(line)!)!;

describe("KVM's tracepoints", () => {
  it.each(LINES)('%s is printed as the kernel printed it', (line) => {
    expect(traceLine({ ...parseTraceLine(line)!, text: traceText(decoded(line)) })).toBe(line);
  });

  it('of a recorded trace are all printed alike', () => {
    const events = [...readTrace(sampleText('T-4k-a76/end.head.trace.txt'))].filter(({ event }) => /^kvm_(?:guest_fault|unmap_hva_range|exit)|mark/u.test(event));
    expect(events.length).toBeGreaterThan(10);
    for (const event of events) {
      expect(traceText(decodeTraceEvent(event)!)).toBe(event.text);
    }
  });

  it.each<DecodedEvent>([
    { event: 'kvm_mmio_nisv', fields: { ipa: 0x900_0000, esr: 0x9200_0046n, far: 0xffff_8000_0900_0000n, pc: 0x8000_0000n } },
    { event: 'kvm_test_age_hva', fields: { hva: 0xffff_8e00_1000 } },
    { event: 'kvm_unmap_hva', fields: { hva: 0 } },
    { event: 'kvm_set_spte_hva', fields: { hva: 0xffff_8e00_1000 } },
    { event: 'kvm_entry', fields: { pc: 0x8000_0000n } },
    { event: 'kvm_sys_access', fields: { pc: 0x8000_1000n, name: 'SCTLR_EL1', op0: 3, op1: 0, crn: 1, crm: 0, op2: 0, access: 'write' } },
    { event: 'kvm_nested_eret', fields: { elr: 0x8000_0000n, spsr: 0x3c5n, mode: 'EL1h', hcr: 0x8000_0001n } },
    { event: 'kvm_inject_nested_exception', fields: { exception: 'sync', esr: 0x9200_0046n, elr: 0n, spsr: 0x3c9n, mode: 'EL2h', hcr: 1n } },
  ])('without a recorded example come back as they were: $event', ({ event, fields }) => {
    expect(decodeTraceEvent({ event, text: traceText({ event, fields } as DecodedEvent) })).toEqual({ event, fields });
  });
});

describe('probes', () => {
  it('of a recorded trace have the names, arguments and values that were printed', () => {
    const events = [...readTrace(sampleText('T-4k-a76/end.head.trace.txt'))].filter(({ text }) => text.startsWith('('));
    expect(events.length).toBeGreaterThan(20);
    // Offset, size of the function and caller are the kernel's own; arguments beyond those that are read are not known.
    const shape = (text: string): string => text.replace(/\+0x\w+\/0x\w+/gu, '').replace(/^\(\S+ <- /u, '(<- ').replace(/ (?:block|pgd_phys)=\S+/gu, '');
    for (const event of events) {
      const text = traceText(decodeTraceEvent(event)!);
      expect(decodeTraceEvent({ ...event, text })).toEqual(decodeTraceEvent(event));
      expect(shape(event.text)).toContain(shape(text).split(' pgt=')[0]);
    }
  });
});

describe('a printed trace', () => {
  const at = { task: 'vmm', pid: 60, cpu: 0, time: 1.5 };
  const events: PrintableEvent[] = [
    { event: 's2_init', fields: { pgt: 0xffff_0000_0492_f240n, mmu: 0xffff_0000_040e_69b0n, flags: 0 }, at },
    { event: 'kvm_toggle_cache', fields: { pc: 0x8000_0000n, was: false, now: true }, at: { ...at, time: 2 } },
  ];

  it('is read back event by event, heading left out', () => {
    const trace = readTrace([...printTrace(events)].join('\n'));
    const read = [...trace].map((event) => ({ ...decodeTraceEvent(event)!, at: { task: event.task, pid: event.pid, cpu: event.cpu, time: event.time } }));
    expect(read).toEqual(events);
    expect(trace.skipped).toBe(0);
  });
});
