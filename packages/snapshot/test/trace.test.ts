import type { ByteSource } from '@granule/contract';
import { bytesSource } from '@granule/memory';
import { decodeTraceEvent, isKnownEvent, linesOf, parseTraceLine, readTrace, textOf, tornField } from '@granule/snapshot';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sampleText } from './samples.js';

const encode = (text: string): ByteSource => bytesSource(new TextEncoder().encode(text));

describe('a trace', () => {
  it('of a real machine is read event by event, comments left out', () => {
    const trace = readTrace(encode(sampleText('T-4k-a76/end.head.trace.txt')));
    const events = [...trace];
    expect([events.length, trace.events, trace.skipped]).toEqual([60, 60, 0]);
    expect(events[0]).toEqual({
      number: 0,
      line: 13,
      task: 'vmm',
      pid: 60,
      cpu: 0,
      flags: '...2.',
      time: 3.456067,
      event: 'tracing_mark_write',
      text: 'T',
    });
    expect(events.filter(isFor('s2_map')).map((event) => decodeTraceEvent(event)).slice(0, 1)).toEqual([
      {
        event: 's2_map',
        fields: { pgt: 0xffff_0000_048f_3c00n, addr: 0x8000_0000, size: 0x1000, phys: 0x4094_9000, prot: 0xfn, flags: 8 },
      },
    ]);
    expect(events.every((event) => !isKnownEvent(event.event) || decodeTraceEvent(event) !== undefined)).toBe(true);
  });

  it.each([
    ['kernel', '             vmm-60      [000] d..1.     3.597842: kvm_access_fault: IPA: 40000000', 'vmm', 60, 'd..1.'],
    ['kernel, older flags', '  qemu-system-aar-1234  [003] d..1   100.000001: kvm_access_fault: IPA: 40000000', 'qemu-system-aar', 1234, 'd..1'],
    ['kernel with thread groups', ' CPU 0/KVM-812   (    811) [001] .....  9.000001: kvm_access_fault: IPA: 40000000', 'CPU 0/KVM', 812, '.....'],
    ['kernel without a thread group', '   <idle>-0     (-------) [001] dNh3.  9.000001: kvm_access_fault: IPA: 40000000', '<idle>', 0, 'dNh3.'],
    ['trace-cmd', '             vmm-60    [000]     3.597842: kvm_access_fault:     IPA: 40000000', 'vmm', 60, ''],
    ['trace-cmd with flags', '             vmm-60    [000] d..1.     3.597842: kvm_access_fault:     IPA: 40000000', 'vmm', 60, 'd..1.'],
    ['nanoseconds', '     kworker/0:1-45    [000]     3.597842123: kvm_access_fault:     IPA: 40000000', 'kworker/0:1', 45, ''],
  ])('line is read in the form: %s', (_, line, task, pid, flags) => {
    expect(parseTraceLine(line)).toMatchObject({ task, pid, flags, event: 'kvm_access_fault', text: 'IPA: 40000000' });
  });

  it('skips and counts torn lines, and goes on', () => {
    const good = '             vmm-60      [000] d..1.     3.597842: flush_vmid: (__kvm_tlb_flush_vmid+0x0/0x40) mmu=0xffff0000040e69b0';
    const trace = readTrace(['# tracer: nop', good, good.slice(0, 40), '', 'cpus=1', 'CPU 1 is empty', '\0\0\0', good, good.slice(0, 50) + good].join('\n'));
    expect([...trace].map(({ number, line }) => [number, line])).toEqual([
      [0, 2],
      [1, 8],
    ]);
    expect([trace.skipped, trace.skippedLines]).toMatchObject([3, [{ line: 3 }, { line: 7 }, { line: 9 }]]);
  });

  it.each([
    ['CPU:0 [LOST 12 EVENTS]', 12],
    ['CPU:3 [7 EVENTS DROPPED]', 7],
    ['CPU:3 [EVENTS DROPPED]', 1],
  ])('says how many events were lost: %s', (line, lost) => {
    const trace = readTrace(`# tracer: nop\n${line}\n`);
    expect([...trace]).toEqual([]);
    expect([trace.lost, trace.skipped]).toEqual([lost, 0]);
  });

  it('is the same from a text and from its bytes, wherever pieces and lines end', () => {
    const line = fc.oneof(fc.string(), fc.string({ minLength: 60_000, maxLength: 70_000 }), fc.constant('é😀'.repeat(20_000)));
    fc.assert(
      fc.property(fc.array(line, { maxLength: 6 }), (parts) => {
        const text = parts.map((part) => part.replaceAll(/[\n\r]/gu, '.').slice(0, 4000)).join('\n');
        expect([...linesOf(encode(text))]).toEqual([...linesOf(text)]);
      }),
      { numRuns: 30 },
    );
  });

  it('of one endless line ends, keeps a bounded part of it, and goes on with the next', () => {
    const source: ByteSource = {
      size: 64 * 2 ** 20,
      read(offset, into) {
        into.fill(0x2d);
        if (offset + into.length >= this.size) into[into.length - 5] = 10;
        return into.length;
      },
    };
    expect([...linesOf(source)].map(({ length }) => length)).toEqual([16384, 4]);
  });

  it('may be one line where it is read whole, with or without a byte order mark', () => {
    const text = 'é{}'.repeat(30_000);
    expect(textOf(encode(text))).toBe(text);
    expect(textOf(encode(`\ufeff${text}`))).toBe(text);
  });

  it('takes time in proportion to its length, whatever is in the lines', () => {
    const start = performance.now();
    for (const part of ['-1 ', '-1 (', '- ', '-1 [', '-1 [0] ', '-1      ', 'a-1 [0] 1.1: ', '-1 (1 ', ' ', '(((', '1'.repeat(9)]) {
      expect([...readTrace(` x${part.repeat(16384 / part.length)}\n`.repeat(4))].length).toBeLessThanOrEqual(4);
    }
    expect(performance.now() - start).toBeLessThan(2000);
  });

  it('cut at any byte loses at most the line that was cut', () => {
    const text = sampleText('T-4k-a76/end.head.trace.txt').split('\n').slice(0, 20).join('\n');
    for (let size = 0; size < text.length; size += 1) {
      const trace = readTrace(text.slice(0, size));
      const events = [...trace];
      const whole = text.slice(0, size).split('\n').slice(0, -1).filter((line) => !line.startsWith('#'));
      expect(events.length).toBeGreaterThanOrEqual(whole.length);
      expect(events.length + trace.skipped).toBeLessThanOrEqual(whole.length + 1);
      for (const event of events) decodeTraceEvent(event);
    }
  });
});

const isFor =
  (name: string) =>
  ({ event }: { readonly event: string }): boolean =>
    event === name;

/** Texts as the kernel prints them: trace_arm.h, trace_handle_exit.h, kvm.h; probes as they were set up. */
describe('the fields of an event', () => {
  it.each([
    ['kvm_guest_fault', 'ipa 0x80000000, hsr 0x82000005, hxfar 0x80000000, pc 0x00000080000000', { ipa: 0x8000_0000, hsr: 0x8200_0005, hxfar: 0x8000_0000n, pc: 0x8000_0000n }],
    ['kvm_guest_fault', 'ipa 0, hsr 0x93810047, hxfar 0, pc 0xffff800010a5d0e4', { ipa: 0, hsr: 0x9381_0047, hxfar: 0n, pc: 0xffff_8000_10a5_d0e4n }],
    ['kvm_access_fault', 'IPA: c020c000', { ipa: 0xc020_c000 }],
    ['kvm_access_fault', 'IPA: 40000000', { ipa: 0x4000_0000 }],
    ['kvm_set_way_flush', 'S/W flush at 0x00000000800017d4 (cache on)', { pc: 0x8000_17d4n, cache: true }],
    ['kvm_toggle_cache', 'VM op at 0x00000000800012e0 (cache was off, now on)', { pc: 0x8000_12e0n, was: false, now: true }],
    ['kvm_unmap_hva_range', 'mmu notifier unmap range: 0x00ffffb6000000 -- 0x00ffffb6400000', { start: 0xffff_b600_0000, end: 0xffff_b640_0000 }],
    ['kvm_unmap_hva_range', 'mmu notifier unmap range: 00000000000000 -- 0x1000', { start: 0, end: 0x1000 }],
    ['kvm_age_hva', 'mmu notifier age hva: 0x00ffff8e001000 -- 0x00ffff8e002000', { start: 0xffff_8e00_1000, end: 0xffff_8e00_2000 }],
    ['kvm_test_age_hva', 'mmu notifier test age hva: 0x00ffff8e001000', { hva: 0xffff_8e00_1000 }],
    ['kvm_unmap_hva', 'mmu notifier unmap hva: 0xb6001000', { hva: 0xb600_1000 }],
    ['kvm_set_spte_hva', 'mmu notifier set pte hva: 0xb6001000', { hva: 0xb600_1000 }],
    ['kvm_mmio_nisv', 'ipa 0x00000009000000, esr 0x00000093000046, far 0x00000009000000, pc 0x00000080001000', { ipa: 0x900_0000, esr: 0x9300_0046n, far: 0x900_0000n, pc: 0x8000_1000n }],
    ['kvm_mmio', 'mmio write len 4 gpa 0x9000000 val 0x1', { access: 'write', length: 4, gpa: 0x900_0000, value: 1n }],
    ['kvm_mmio', 'mmio unsatisfied-read len 8 gpa 0x9000000 val 0x0', { access: 'unsatisfied-read', length: 8, gpa: 0x900_0000, value: 0n }],
    ['kvm_entry', 'PC: 0x0000000080000000', { pc: 0x8000_0000n }],
    ['kvm_exit', 'TRAP: HSR_EC: 0x0020 (IABT_LOW), PC: 0x00000000800011a4', { exit: 'TRAP', ec: 0x20, name: 'IABT_LOW', pc: 0x8000_11a4n }],
    ['kvm_sys_access', 'PC: 800012f8 SYS_DC_ISW (1,0,7,6,2) write', { pc: 0x8000_12f8n, name: 'SYS_DC_ISW', op0: 1, op1: 0, crn: 7, crm: 6, op2: 2, access: 'write' }],
    ['kvm_nested_eret', 'elr_el2: 0x80000000 spsr_el2: 0x000003c5 (M: EL1h) hcr_el2: 480000039', { elr: 0x8000_0000n, spsr: 0x3c5n, mode: 'EL1h', hcr: 0x4_8000_0039n }],
    ['kvm_inject_nested_exception', 'SYNC: esr_el2 0x5a00dead elr_el2: 0x8000003c spsr_el2: 0x600003c5 (M: EL1h) hcr_el2: 480000039', { exception: 'SYNC', esr: 0x5a00_deadn, elr: 0x8000_003cn, spsr: 0x6000_03c5n, mode: 'EL1h', hcr: 0x4_8000_0039n }],
    ['tracing_mark_write', 'hold c1', { mark: 'hold c1' }],
    ['s2_map', '(kvm_pgtable_stage2_map+0x0/0xf0) pgt=0xffff0000048f3c00 addr=0x80000000 size=0x1000 phys=0x40949000 prot=0x18000000000000f flags=0x8', { pgt: 0xffff_0000_048f_3c00n, addr: 0x8000_0000, size: 0x1000, phys: 0x4094_9000, prot: 0x180_0000_0000_000fn, flags: 8 }],
    ['s2_map_ret', '(kvm_s2_fault_map+0xe8/0x3a0 <- kvm_pgtable_stage2_map) ret=-11', { ret: -11 }],
    ['s2_test_clear_young', '(kvm_pgtable_stage2_test_clear_young+0x0/0x54) pgt=0xffff0000048f1240 addr=0xc0001000 size=0x1000 mkold=0x1', { pgt: 0xffff_0000_048f_1240n, addr: 0xc000_1000, size: 0x1000, mkold: 1 }],
    ['s2_free_unlinked', '(kvm_pgtable_stage2_free_unlinked+0x0/0xcc) mm_ops=0xffffd18da3002cf8 table=0xffff000004c7d000 level=2', { table: 0xffff_0000_04c7_d000n, level: 2 }],
    ['hyp_map', '(kvm_pgtable_hyp_map+0x0/0x100) pgt=0xffff0000013719c0 addr=0x40722000 size=0x1000 phys=0x40722000 prot=0xb', { pgt: 0xffff_0000_0137_19c0n, addr: 0x4072_2000, size: 0x1000, phys: 0x4072_2000, prot: 0xbn }],
    ['unmap_stage2_range', '(__unmap_stage2_range+0x0/0x5c) mmu=0xffff0000040e49b0 start=0x800b8000 size=0x1000 block=1 pgd_phys=0x440ea000 pgt=0xffff000004d30800', { mmu: 0xffff_0000_040e_49b0n, pgt: 0xffff_0000_04d3_0800n, pgd_phys: 0x440e_a000, block: 1, start: 0x800b_8000, size: 0x1000 }],
    ['flush_vmid_ipa', '(__kvm_tlb_flush_vmid_ipa+0x0/0x6c) mmu=0xffff0000040e49b0 ipa=0x800b8000 level=3', { mmu: 0xffff_0000_040e_49b0n, ipa: 0x800b_8000, level: 3 }],
    ['lookup_s2_mmu_ret', '(kvm_vcpu_load_hw_mmu+0x13c/0x2e4 <- lookup_s2_mmu) mmu=0x0', { mmu: 0n }],
    ['stage2_flush_vm', '(stage2_flush_vm+0x0/0x100)', {}],
  ])('%s are read from "%s"', (event, text, fields) => {
    expect(decodeTraceEvent({ event, text })).toEqual({ event, fields });
  });

  it('of an unknown event, or of a torn text, are none', () => {
    expect(decodeTraceEvent({ event: 'kvm_arm_setup_debug', text: 'vcpu: 0, flags: 0' })).toBeUndefined();
    expect(decodeTraceEvent({ event: 'constructor', text: '' })).toBeUndefined();
    expect(decodeTraceEvent({ event: 's2_map', text: '(kvm_pgtable_stage2_map+0x0/0xf0) pgt=0xffff0000048f3c00 addr=0x8000' })).toBeUndefined();
    expect(decodeTraceEvent({ event: 's2_map_ret', text: '(x) ret=' })).toBeUndefined();
    expect(decodeTraceEvent({ event: 's2_mkyoung', text: '(x) pgt=0x1 addr=0xffffffffffffffff flags=0x8' })).toBeUndefined();
    expect(decodeTraceEvent({ event: 'kvm_toggle_cache', text: 'VM op at 0x1 (cache was of, now on)' })).toBeUndefined();
    // A padded number that is not as wide as any format pads it.
    const range = (end: string): unknown => decodeTraceEvent({ event: 'kvm_unmap_hva_range', text: `mmu notifier unmap range: 0x00ffff99000000 -- ${end}` });
    expect([range('0x00ffff9'), range('0x00ffff9920000')]).toEqual([undefined, undefined]);
    expect(range('0x00ffff99200000')).toMatchObject({ fields: { end: 0xffff_9920_0000 } });
  });
});

it.each([
  ['s2_map', 'pgt=0x10 addr=0x1000 size=0x1000 phys=0x2000 prot=0xf flags=0x8', undefined],
  ['s2_map', 'pgt=0x10 addr=0x1000 size=0x1000 ph', 'phys'],
  ['s2_map', 'pgt=0x10 addr=0xfffffffffffffff0 size=0x1000 phys=0x2000 prot=0xf flags=0x8', 'addr'],
  ['kvm_entry', 'PC: 0x80', undefined],
  ['kvm_entry', 'PC', 'text'],
  ['sched_switch', 'anything', undefined],
])('of %s with "%s" the first field that is torn is %s', (event, text, field) => {
  expect(tornField({ event, text })).toBe(field);
});
