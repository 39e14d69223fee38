import { done, refused, type ByteSource, type Outcome } from '@granule/contract';
import { hex, MAX_ADDRESS, type OutputAddress } from '@granule/geometry/bits';
import type { PageRun, Segment } from '@granule/memory';

/** What an ELF64 file says about memory: its PT_LOAD headers, in file order. */
export interface ElfImage {
  /** e_machine as it stands; it does not tell the architecture of the machine that was dumped. */
  readonly machine: number;
  readonly segments: readonly Segment[];
}

/** Field offsets and constants: System V gABI, chapters 4 (ELF header) and 5 (program header); PN_XNUM: Linux elf.h. */
const EHDR_BYTES = 64;
const PHDR_BYTES = 56;
const SHDR_BYTES = 64;
const EM_AARCH64 = 183;
const ET_CORE = 4;
const PT_LOAD = 1;
const PN_XNUM = 0xffff;
/** A machine has tens of memory ranges, a sparse core some thousands. */
const MAX_HEADERS = 2 ** 20;
const HEADERS_AT_ONCE = 1024;
const SOURCE = 'System V gABI: ELF header, program header';

export function isElf(head: Uint8Array): boolean {
  return head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c && head[3] === 0x46;
}

/**
 * The memory of an ELF64 little-endian file. Reads the headers only, whatever the size of the file; other program headers than PT_LOAD are skipped. Nothing in a
 * header is believed before it is checked against the file: refused are `elf.not-elf`, `elf.truncated`, `elf.class` (32-bit), `elf.byte-order`
 * (big-endian), `elf.version`, `elf.header-size`, `elf.headers-outside`, `elf.too-many-headers` (over 2^20), `elf.segment-sizes`, `elf.segment-outside`,
 * `elf.segment-address` (beyond 2^52) and `elf.no-memory`.
 */
export function readElf(source: ByteSource): Outcome<ElfImage> {
  const header = new Uint8Array(EHDR_BYTES);
  const got = source.read(0, header);
  if (!isElf(header.subarray(0, got))) {
    return refused('elf.not-elf', 'The file does not begin with the four bytes of an ELF header.', SOURCE);
  }
  if (got < EHDR_BYTES) {
    return refused('elf.truncated', `The file ends after ${got} of the ${EHDR_BYTES} bytes of its ELF header.`, SOURCE);
  }
  const view = new DataView(header.buffer);
  const problem = identProblem(view);
  if (problem !== undefined) {
    return problem;
  }
  const count = headerCount(source, view);
  if (count.kind !== 'done') {
    return count;
  }
  const segments = readSegments(source, u64(view, 32), count.value);
  return segments.kind === 'done' ? done({ machine: view.getUint16(18, true), segments: segments.value }) : segments;
}

/** EI_CLASS, EI_DATA, EI_VERSION and e_phentsize. */
function identProblem(view: DataView): Outcome<never> | undefined {
  if (view.getUint8(4) !== 2) {
    return refused('elf.class', `EI_CLASS is ${view.getUint8(4)}: only 64-bit ELF (2) is read.`, SOURCE);
  }
  if (view.getUint8(5) !== 1) {
    return refused('elf.byte-order', `EI_DATA is ${view.getUint8(5)}: only little-endian ELF (1) is read.`, SOURCE);
  }
  if (view.getUint8(6) !== 1) {
    return refused('elf.version', `EI_VERSION is ${view.getUint8(6)}, not 1.`, SOURCE);
  }
  const size = view.getUint16(54, true);
  if (size !== PHDR_BYTES) {
    return refused('elf.header-size', `e_phentsize is ${size}, a 64-bit program header has ${PHDR_BYTES} bytes.`, SOURCE);
  }
  return undefined;
}

/** e_phnum, or sh_info of section header 0 where e_phnum is PN_XNUM. */
function headerCount(source: ByteSource, view: DataView): Outcome<number> {
  let count = view.getUint16(56, true);
  if (count === PN_XNUM) {
    const at = u64(view, 40);
    const section = new Uint8Array(SHDR_BYTES);
    if (at === 0 || at + SHDR_BYTES > source.size || source.read(at, section) < SHDR_BYTES) {
      return refused('elf.headers-outside', `e_phnum is PN_XNUM, but the section header at e_shoff ${hex(at)} is not in the file.`, SOURCE);
    }
    count = new DataView(section.buffer).getUint32(44, true);
  }
  if (count > MAX_HEADERS) {
    return refused('elf.too-many-headers', `The file has ${count} program headers, more than ${MAX_HEADERS}.`, SOURCE);
  }
  const start = u64(view, 32);
  if (start + count * PHDR_BYTES > source.size) {
    const where = `at e_phoff ${hex(start)} with ${count} program headers`;
    return refused('elf.headers-outside', `The table ${where} ends beyond the file's ${source.size} bytes.`, SOURCE);
  }
  return done(count);
}

function readSegments(source: ByteSource, start: number, count: number): Outcome<readonly Segment[]> {
  const segments: Segment[] = [];
  const part = new Uint8Array(Math.min(count, HEADERS_AT_ONCE) * PHDR_BYTES);
  const view = new DataView(part.buffer);
  for (let i = 0; i < count; i += 1) {
    const at = i % HEADERS_AT_ONCE;
    if (at === 0) {
      const bytes = Math.min(count - i, HEADERS_AT_ONCE) * PHDR_BYTES;
      if (source.read(start + i * PHDR_BYTES, part.subarray(0, bytes)) < bytes) {
        return refused('elf.truncated', `Program header ${i} cannot be read.`, SOURCE);
      }
    }
    if (view.getUint32(at * PHDR_BYTES, true) === PT_LOAD) {
      const segment = readSegment(source, view, at * PHDR_BYTES, i);
      if (segment.kind !== 'done') {
        return segment;
      }
      segments.push(segment.value);
    }
  }
  return segments.some(({ bytes }) => bytes > 0)
    ? done(segments)
    : refused('elf.no-memory', `None of the ${count} program headers is a PT_LOAD with memory.`, SOURCE);
}

function readSegment(source: ByteSource, view: DataView, at: number, index: number): Outcome<Segment> {
  const offset = u64(view, at + 8);
  const pa = u64(view, at + 24);
  const fileBytes = u64(view, at + 32);
  const bytes = u64(view, at + 40);
  const which = `Program header ${index}`;
  if (fileBytes > bytes) {
    return refused('elf.segment-sizes', `${which} has p_filesz ${hex(fileBytes)}, more than its p_memsz ${hex(bytes)}.`, SOURCE);
  }
  if (pa + bytes > MAX_ADDRESS) {
    return refused('elf.segment-address', `${which} has p_paddr ${hex(pa)} and p_memsz ${hex(bytes)}, which end beyond 2^52.`, SOURCE);
  }
  if (fileBytes > 0 && offset + fileBytes > source.size) {
    const what = `p_offset ${hex(offset)} and p_filesz ${hex(fileBytes)}`;
    return refused('elf.segment-outside', `${which} has ${what}, which end beyond the file's ${source.size} bytes.`, SOURCE);
  }
  return done({ pa, bytes, fileBytes, source, offset: fileBytes > 0 ? offset : 0 });
}

/** Exact below 2^53; above, large enough to fail every comparison with a size. */
function u64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}

function setU64(view: DataView, at: number, value: number): void {
  view.setBigUint64(at, BigInt(value), true);
}

/**
 * A minimal ELF64 core (ET_CORE, EM_AARCH64, no notes) that holds these runs, one PT_LOAD each: what {@link readElf} reads back. From 65,535 runs on the count
 * goes to section header 0 (PN_XNUM).
 */
export function elfCore(runs: readonly { readonly pa: OutputAddress; readonly bytes: PageRun['bytes'] }[]): Uint8Array {
  const extended = runs.length >= PN_XNUM;
  const headers = EHDR_BYTES + runs.length * PHDR_BYTES;
  const start = headers + (extended ? SHDR_BYTES : 0);
  const file = new Uint8Array(runs.reduce((size, { bytes }) => size + bytes.length, start));
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, ET_CORE, true);
  view.setUint16(18, EM_AARCH64, true);
  view.setUint32(20, 1, true);
  setU64(view, 32, EHDR_BYTES);
  view.setUint16(52, EHDR_BYTES, true);
  view.setUint16(54, PHDR_BYTES, true);
  view.setUint16(56, extended ? PN_XNUM : runs.length, true);
  if (extended) {
    setU64(view, 40, headers);
    view.setUint16(58, SHDR_BYTES, true);
    view.setUint16(60, 1, true);
    view.setUint32(headers + 44, runs.length, true);
  }
  let offset = start;
  runs.forEach(({ pa, bytes }, i) => {
    const at = EHDR_BYTES + i * PHDR_BYTES;
    view.setUint32(at, PT_LOAD, true);
    setU64(view, at + 8, offset);
    setU64(view, at + 24, pa);
    setU64(view, at + 32, bytes.length);
    setU64(view, at + 40, bytes.length);
    file.set(bytes, offset);
    offset += bytes.length;
  });
  return file;
}
