import { decodeTraceEvent, parseTraceLine, type PrintedEvent, readTrace, traceLine, traceText } from '@granule/snapshot';
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
];

const decoded = (line: string): PrintedEvent => decodeTraceEvent(parseTraceLine(line)!) as PrintedEvent;

describe("KVM's tracepoints", () => {
  it.each(LINES)('%s is printed as the kernel printed it', (line) => {
    expect(traceLine({ ...parseTraceLine(line)!, text: traceText(decoded(line)) })).toBe(line);
  });

  it('of a recorded trace are all printed alike', () => {
    const events = [...readTrace(sampleText('T-4k-a76/end.head.trace.txt'))].filter(({ event }) => /^kvm_(?:guest_fault|unmap_hva_range)|mark/u.test(event));
    expect(events.length).toBeGreaterThan(10);
    for (const event of events) {
      expect(traceText(decodeTraceEvent(event) as PrintedEvent)).toBe(event.text);
    }
  });

  it('without a recorded example come back as they were', () => {
    const events: PrintedEvent[] = [
      { event: 'kvm_mmio_nisv', fields: { ipa: 0x900_0000, esr: 0x9200_0046n, far: 0xffff_8000_0900_0000n, pc: 0x8000_0000n } },
      { event: 'kvm_test_age_hva', fields: { hva: 0xffff_8e00_1000 } },
    ];
    for (const { event, fields } of events) {
      expect(decodeTraceEvent({ event, text: traceText({ event, fields } as PrintedEvent) })).toEqual({ event, fields });
    }
  });
});
