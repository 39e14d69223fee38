import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { armv8 } from '@granule/armv8';
import { stage1Geometry } from '@granule/geometry';
import { DownwardVa, HYP_POLICIES, hypAddress, hypLayout, HypMappings, type HypMapCall } from '@granule/kvm';
import { createTableArena } from '@granule/memory';
import { createPageTable } from '@granule/pgtable';
import { describe, expect, it } from 'vitest';
import { valueOf } from './support.js';

const boot = gunzipSync(readFileSync(join(import.meta.dirname, 'data/E-4k-nvhe/boot.trace.txt.gz'))).toString();
const recorded = [...boot.matchAll(/ hyp_map: .* addr=(\w+) size=(\w+) phys=(\w+) prot=(\w+)/gu)].map(([, ...words]) => words.map(Number));

/** RAM of that machine (its iomem.txt), and places in its kernel (symbols.txt, by the physical address of `_text`, 0x4020_0000). */
const RAM = { start: 0x4000_0000, end: 0xc000_0000 };
const IDMAP = [0x4072_2000, 0x4072_2e10] as const;
const TEXT = [0x4072_2e10, 0x4073_b000] as const;
const RODATA = [0x408e_a000, 0x408f_0000] as const;
const STACK = 0x4138_c000;
const VECTORS = 0x4073_6000;

/** The random bits of the tag: bits 46 to 31 of the first linear address; the rest is predicted. */
const RANDOM = (Math.floor(recorded[1][0] / 2 ** 31) % 2 ** 16) / 2 ** 16;
const layout = valueOf(hypLayout({ vaBits: 48, idmap: IDMAP[0], linear: { start: 0, end: RAM.end - RAM.start }, random: RANDOM }));

/** enum kvm_pgtable_prot of Linux 7.2: PX 1, UX 2, W 4, R 8. */
const PROT = { code: 0xb, data: 0xc, rodata: 0x8, device: 0x1c };

describe('the boot of an nVHE host', () => {
  it('maps every object of the kernel at the hyp address that the layout gives it', () => {
    const objects = recorded.filter(([addr]) => addr >= layout.tag);
    expect(objects).toHaveLength(522);
    for (const [addr, size, phys] of objects) {
      expect([addr, size]).toEqual([hypAddress(layout, phys - RAM.start - (phys % 4096)), 4096]);
    }
  });

  it('makes the calls of the policy: identity map, code, read-only data; the stack above its guard, and the vectors below it', () => {
    const calls: HypMapCall[] = [];
    const geometry = valueOf(stage1Geometry({ granule: '4K', vaBits: 48 }));
    const format = valueOf(armv8.format('el2', { geometry, mair: 0x4_0044_ffffn }));
    const table = valueOf(createPageTable({ format, memory: createTableArena({ pageShift: 12 }) }));
    const hyp = new HypMappings({
      policy: HYP_POLICIES.nvhe, layout, linearOffset: RAM.start, table, privateVa: new DownwardVa(layout, 12), trace: (call) => calls.push(call),
    });
    valueOf(hyp.mapIdmap(...IDMAP));
    valueOf(hyp.mapObject(...TEXT, 'code'));
    valueOf(hyp.mapObject(...RODATA, 'rodata'));
    expect(calls.map(({ addr, size, phys, kind }) => [addr, size, phys, PROT[kind]])).toEqual(recorded.slice(0, calls.length));
    calls.length = 0;
    valueOf(hyp.createStack(STACK, 4096));
    valueOf(hyp.mapPrivate(VECTORS, 0x2000, 'code'));
    expect(calls.map(({ addr, size, phys, kind }) => [addr, size, phys, PROT[kind]])).toEqual(recorded.filter(([addr]) => addr < layout.tag).slice(1));
  });
});
