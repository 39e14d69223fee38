import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { armv8 } from '@granule/armv8';
import type { PhysicalReader } from '@granule/contract';
import { bytesSource } from '@granule/memory';
import { openImage as openMemory, readRegisters, type RegistersFile } from '@granule/snapshot';
import { describe, expect, it } from 'vitest';
import { type Image, openImage, walkShadow } from '../src/index.js';
import { valueOf } from './support.js';

const folder = join(import.meta.dirname, 'data/G-4k-v3');
const text = (name: string): string => readFileSync(join(folder, name), 'utf8');

interface Opened {
  readonly image: Image;
  readonly file: RegistersFile;
  readonly memory: PhysicalReader;
}

function imageOf(file: RegistersFile, memory: PhysicalReader): Image {
  const { registers, regimes, nested } = file;
  return valueOf(openImage({ memory, registers, regimes, ...(nested && { nested }), backends: { armv8 } }));
}

function open(checkpoint: string): Opened {
  const file = valueOf(readRegisters(text(`${checkpoint}.regs.json`)));
  const { memory } = valueOf(openMemory(bytesSource(readFileSync(join(folder, `${checkpoint}.core.gz`)))));
  return { image: imageOf(file, memory), file, memory };
}

/** Leaves as another program's walk found them: regime, level, input, output, descriptor. */
function leaves(checkpoint: string): readonly { regime: string; level: number; input: bigint; output: bigint; descriptor: bigint }[] {
  const [, ...rows] = gunzipSync(readFileSync(join(folder, `${checkpoint}.leaves.csv.gz`))).toString().trim().split('\n');
  return rows.map((row) => {
    const [regime, level, input, output, descriptor] = row.split(',');
    return { regime, level: Number(level), input: BigInt(input), output: BigInt(output), descriptor: BigInt(descriptor) };
  });
}

const physical = (image: Image, regime: string, address: bigint): bigint | undefined => {
  const { end } = valueOf(walkShadow(image, regime, address)).shadow;
  return end.kind === 'translated' ? BigInt(end.output) : undefined;
};

describe.each(['c7', 'c8', 'c10'])('%s of a nested run', (checkpoint) => {
  const { image } = open(checkpoint);
  const all = leaves(checkpoint);
  const shadows = all.filter(({ regime }) => regime === 'stage2' || regime.startsWith('shadow-'));
  const walks = new Map(shadows.map((leaf) => [leaf, valueOf(walkShadow(image, leaf.regime, leaf.input))]));

  it('every leaf of every shadow is in it for a reason, and leads where the other walk says', () => {
    expect(shadows.length).toBeGreaterThan(30);
    for (const [{ regime, input, output }, { state, shadow: { end } }] of walks) {
      expect([regime, input, state]).toEqual([regime, input, 'mapped']);
      expect(end).toMatchObject({ kind: 'translated', output: Number(output) });
    }
  });

  it("the guest hypervisor's leaf of every one of them is the other walk's, and so is the level that the shadow notes", () => {
    for (const [{ input, descriptor }, { guest, ipa, context }] of walks) {
      const own = all.filter((each) => each.regime === guest?.tables.name && each.input <= input).at(-1);
      expect(own && BigInt(ipa!) - own.output, `${context.seenAt} ${input}`).toBe(own && input - own.input);
      expect(BigInt(own!.level)).toBe((descriptor >> 55n) & 3n);
    }
  });

  it("where QEMU's own walk of the running guest gave an address, so does the chain; where it gave none, the shadow has none", () => {
    const [, ...rows] = text(`${checkpoint}.translate.csv`).trim().split('\n');
    expect(rows.length).toBeGreaterThan(20);
    for (const [input, output] of rows.map((row) => row.split(','))) {
      const there = physical(image, 's2', BigInt(input));
      expect([input, there]).toEqual([input, output === '' ? undefined : BigInt(output)]);
    }
  });

  it('an address of the guest hypervisor that no access came to is not there yet', () => {
    const { guest } = valueOf(walkShadow(image, 's2', shadows[0].input));
    const untouched = all.find(({ regime, input }) => regime === guest?.tables.name && physical(image, 's2', input) === undefined)!;
    expect(valueOf(walkShadow(image, 's2', untouched.input))).toMatchObject({ state: 'not-yet', ipa: Number(untouched.output) });
  });
});

describe('a context that the registers file lists no regimes for', () => {
  it('is made of its virtual and hardware VTTBR_EL2 and VTCR_EL2', () => {
    const { file, memory, image } = open('c7');
    const bare = imageOf({ ...file, regimes: file.regimes.filter(({ name }) => name === 'stage2-canonical' || name === 'stage2') }, memory);
    expect(bare.regimes).toContain('guest-c7');
    expect(physical(bare, 'shadow-c3', 0x1000_0000n)).toBe(physical(image, 'shadow-c3', 0x1000_0000n));
    expect(valueOf(walkShadow(bare, 's2', 0x1000_8008n)).ipa).toBe(valueOf(walkShadow(image, 's2', 0x1000_8008n)).ipa);
  });

  it("cannot be judged without the VM's own stage 2", () => {
    const { file, memory } = open('c7');
    const bare = imageOf({ ...file, regimes: [] }, memory);
    expect(valueOf(walkShadow(bare, 's2', 0x1000_8008n))).toMatchObject({ state: 'unknown' });
  });
});

/** Memory with 8 bytes of it changed. */
function changed(memory: PhysicalReader, at: number, value: bigint): PhysicalReader {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return {
    read(pa, into) {
      const found = memory.read(pa, into);
      for (let i = 0; i < 8; i++) {
        const place = at + i - pa;
        if (place >= 0 && place < into.length) {
          into[place] = bytes[i];
        }
      }
      return found;
    },
  };
}

describe('a guest hypervisor that changed an entry and has not invalidated it', () => {
  const { image, file, memory } = open('c7');
  // Its level 3 entry for 0x1000_8000, and where that lies in physical memory.
  const step = valueOf(walkShadow(image, 's2', 0x1000_8008n)).guest!.steps.at(-1)!;
  const { end } = step.through!;
  const at = end.kind === 'translated' ? end.output : 0;
  const descriptor = BigInt(step.lo) + (BigInt(step.hi) << 32n);
  const after = (value: bigint) => valueOf(walkShadow(imageOf(file, changed(memory, at, value)), 's2', 0x1000_8008n));

  it('took it out: the shadow is stale', () => {
    expect(after(0n)).toMatchObject({ state: 'stale', sentences: [expect.stringContaining('is invalid'), expect.stringContaining('has not invalidated it')] });
  });

  it('took the right to write: the shadow permits more', () => {
    expect(after(descriptor & ~0x80n)).toMatchObject({ state: 'stale', sentences: [expect.stringMatching(/does not: write\.$/), expect.anything()] });
  });

  it("cleared the access flag: the fault is its own, for its VTCR_EL2.HA is 0", () => {
    expect(after(descriptor & ~0x400n)).toMatchObject({ state: 'stale', kvm: { kind: 'fault', statusCode: 0x0b } });
  });
});

describe('what cannot be walked is refused in one sentence', () => {
  const { image, file, memory } = open('c7');

  it("the VM's own stage 2", () => {
    expect(walkShadow(image, 'stage2-canonical', 0n)).toMatchObject({ kind: 'refused', id: 'walk.no-context' });
  });

  it('registers that tell of no guest hypervisor', () => {
    const { registers, regimes } = file;
    expect(walkShadow(imageOf({ registers, regimes }, memory), 's2', 0n)).toMatchObject({ kind: 'refused', id: 'walk.not-nested' });
  });

  it('a regime that is not there', () => {
    expect(walkShadow(image, 'shadow-c99', 0n)).toMatchObject({ kind: 'refused', id: 'image.unknown-regime' });
  });
});
