import { type Backend, type Failure, type Features, refused } from '@granule/contract';
import { GRANULES, type Granule } from '@granule/geometry';
import { alignUp, hex } from '@granule/geometry/bits';
import type { CacheConfig } from '@granule/cache-tlb';
import { type HostProfile, type KernelProfile, kernelProfile } from '@granule/kvm';
import { CPUS } from './cpus.js';
import type { MachineSpec, MemorySpec } from './machine-schema.js';
import type { FieldPath } from './read.js';
import { SCENARIO_SCHEMA, type Scenario } from './scenario.js';

/** A part of physical memory. */
export interface PhysicalRange {
  readonly start: number;
  readonly bytes: number;
}

/** A scenario's machine and host, everything decided. */
export interface Configuration {
  readonly backend: Backend;
  readonly features: Features;
  readonly pes: number;
  readonly caches: Omit<CacheConfig, 'memory' | 'pes'> | undefined;
  /** Bytes of a cache line. */
  readonly line: number;
  readonly kernel: KernelProfile;
  readonly host: HostProfile;
  /** All memory that the scenario speaks of: sorted, joined. */
  readonly memory: readonly PhysicalRange[];
  /** Where table pages come from. */
  readonly tables: PhysicalRange;
  /** Of these, how many to have room for at once. */
  readonly initialPages: number;
}

export interface TablePages {
  readonly maxPages: number;
  readonly initialPages: number;
}

/** Backends by architecture. */
export type Backends = Readonly<Record<'armv8' | 'armv7-lpae', Backend>>;

/** VA bits of a usual host kernel: Linux defconfig (48), 16K pages (47), a 32-bit kernel's own table (39, four entries of 1 GiB of it in use). */
const VA_BITS: Readonly<Record<Granule, number>> = { '4K': 48, '16K': 47, '64K': 48 };
const ARMV7_VA_BITS = 39;
const GIGABYTE = 30;
/** Of the line that CTR_EL0 or CTR tells where nothing else is said. */
const LINE = 64;

/** A failure, and the field that is to blame. */
export interface Misplaced {
  readonly failure: Failure;
  readonly path: FieldPath;
}

function bad(path: FieldPath, what: string): Misplaced {
  return { path, failure: refused('scenario.setting', `${what}.`, SCENARIO_SCHEMA) };
}

/** Everything decided; or `scenario.setting`, what does not go together. */
export function configure(scenario: Scenario, backends: Backends, arch: 'armv8' | 'armv7-lpae', { maxPages, initialPages }: TablePages): Configuration | Misplaced {
  const { machine = {}, host = {} } = scenario;
  const armv7 = arch === 'armv7-lpae';
  const cpu = machine.cpu ?? (armv7 ? 'cortex-a15' : 'cortex-a76');
  if (armv7 !== (cpu === 'cortex-a15')) {
    return bad(['machine', 'cpu'], `${cpu} is not of ${arch}`);
  }
  const backend = backends[arch];
  const features: Features = { ...backend.registers.features({ ...CPUS[cpu], ...machine.registers }), ...machine.features };
  const granule = host.granule ?? '4K';
  if (!features.granules2.includes(granule)) {
    return bad(['host', 'granule'], `${granule} is not a stage-2 granule of this machine, which has ${features.granules2.join(', ')}`);
  }
  const page = 2 ** GRANULES[granule].pageShift;
  const ranges = rangesOf(scenario);
  const wrong = unfit(scenario, ranges, page, features.paBits);
  if (wrong !== undefined) {
    return wrong;
  }
  const memory = joined(ranges);
  const tables = tablesAt(machine, memory, maxPages * page, features.paBits);
  if ('failure' in tables) {
    return tables;
  }
  const { hardwareAccessFlag = true, tlbRange = true, kernel = '7.2', vaBits = armv7 ? ARMV7_VA_BITS : VA_BITS[granule] } = host;
  const profile = { granule, vaBits, features, hardwareAccessFlag, tlbRange };
  const caches = cachesOf(machine, features);
  const { pes = 1 } = machine;
  return { backend, features, pes, caches, line: caches?.lineBytes ?? LINE, kernel: kernelProfile(kernel), host: profile, memory, tables, initialPages };
}

function cachesOf({ caches }: MachineSpec, { idc, dic }: Features): Configuration['caches'] {
  if (caches === undefined) {
    return undefined;
  }
  const { data, instruction = data, outer, system, lineBytes = LINE } = caches;
  const shape = ({ sets, ways }: { readonly sets: number; readonly ways: number }) => ({ sets, ways, replacement: 'lru' as const });
  const index = caches.instruction?.index ?? 'physical';
  return {
    lineBytes, idc, dic, data: shape(data), instruction: { ...shape(instruction), index },
    ...(outer === undefined ? {} : { outer: shape(outer) }), ...(system === undefined ? {} : { system: shape(system) }),
  };
}

/** A range, and the field that speaks of it. */
interface NamedRange extends PhysicalRange {
  readonly path: FieldPath;
}

/** Physical memory behind the VMM's, that of EL2 and devices mapped beforehand, by address. */
function rangesOf({ memory = [], steps, hyp }: Scenario): readonly NamedRange[] {
  const ranges: NamedRange[] = memory.map(({ physical, size }, i) => ({ start: physical, bytes: size, path: ['memory', i] }));
  for (const [i, outer] of steps.entries()) {
    for (const step of outer.do === 'repeat' ? outer.steps : [outer]) {
      if (step.do === 'back' || step.do === 'ioremap') {
        ranges.push({ start: step.physical, bytes: step.size, path: ['steps', i] });
      }
    }
  }
  if (hyp !== undefined) {
    ranges.push({ start: hyp.ram.start, bytes: hyp.ram.size, path: ['hyp', 'ram'] });
  }
  return ranges.filter(({ bytes }) => bytes > 0).sort((a, b) => a.start - b.start);
}

/** What no host maps so, and what is no physical address of this machine. */
function unfit({ memory = [], steps }: Scenario, ranges: readonly NamedRange[], page: number, paBits: number): Misplaced | undefined {
  const beyond = ranges.find(({ start, bytes }) => start + bytes > 2 ** paBits);
  if (beyond !== undefined) {
    return bad(beyond.path, `physical memory ends at ${hex(beyond.start + beyond.bytes)}, beyond the ${paBits} bits of physical address that this machine has`);
  }
  const backing = [...memory.map((spec, i) => ({ spec, path: ['memory', i] })), ...steps.flatMap((spec, i) => (spec.do === 'back' ? [{ spec, path: ['steps', i] }] : []))];
  for (const { spec, path } of backing) {
    const { hva, size, physical, page: leaf = page } = spec;
    for (const [name, value] of Object.entries({ hva, size, physical })) {
      if (value % page !== 0) {
        return bad([...path, name], `${hex(value)} is not a multiple of the host's page size, ${page} bytes`);
      }
    }
    if (leaf < page || !Number.isInteger(Math.log2(leaf))) {
      return bad([...path, 'page'], `${hex(leaf)} bytes are no page that a host of ${page}-byte pages has`);
    }
    if ((hva - physical) % leaf !== 0) {
      return bad([...path, 'page'], `hva and physical are not alike below ${hex(leaf)}, so that no page of that size maps one to the other`);
    }
  }
  return undefined;
}

/** Ranges that touch are one. */
function joined(sorted: readonly PhysicalRange[]): readonly PhysicalRange[] {
  const result: PhysicalRange[] = [];
  for (const { start, bytes } of sorted) {
    const last = result.at(-1);
    if (last !== undefined && start <= last.start + last.bytes) {
      result[result.length - 1] = { start: last.start, bytes: Math.max(last.bytes, start + bytes - last.start) };
    } else {
      result.push({ start, bytes });
    }
  }
  return result;
}

/** The first whole gigabyte above all memory, or below it. */
function tablesAt({ tables }: MachineSpec, memory: readonly PhysicalRange[], bytes: number, paBits: number): PhysicalRange | Misplaced {
  const limit = 2 ** paBits;
  const candidates = tables === undefined ? [0, ...memory.map(({ start, bytes: size }) => alignUp(start + size, GIGABYTE))].reverse() : [tables];
  const start = candidates.find((at) => at + bytes <= limit && !memory.some((each) => at < each.start + each.bytes && each.start < at + bytes));
  if (start === undefined) {
    return bad(['machine', 'tables'], `there is no room for ${hex(bytes)} bytes of table pages beside the memory, below 2^${paBits}`);
  }
  return start % 2 ** 16 === 0 ? { start, bytes } : bad(['machine', 'tables'], `${hex(start)} is not a multiple of 64K`);
}

/** The VMM's memory as kvm takes it. */
export function backingOf({ hva, size, physical, kind = 'anonymous', page, memory, writable = true }: MemorySpec, pageBytes: number) {
  const leaf = page ?? pageBytes;
  return {
    start: hva, bytes: size, physical, kind, writable, pageBytes: leaf, leafBytes: leaf, memory: memory ?? (kind === 'device' ? ('device' as const) : ('normal' as const)),
  };
}
