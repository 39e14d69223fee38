import { type Backend, type NestedGuest, type Outcome, done } from '@granule/contract';
import { type Granule, GRANULES, kvmIpaLimit } from '@granule/geometry';
import type { HostProfile } from '@granule/kvm';
import type { KernelTables } from '../replay/kernel-tables.js';
import type { ReplayOptions } from '../replay/replay.js';
import { readLines } from '../replay/run-directory.js';

/** PARange of a VM with a virtual EL2 is capped (Linux limit_nv_id_reg). */
const MAX_PA_BITS = 48;
/** `SYS_ID_AA64MMFR0_EL1:  1100022200100125`, as a VMM prints the ID registers of its VM. */
const ID_REGISTER = /^\s*SYS_(ID_\w+):\s*([\da-f]{1,16})\s*$/iu;

/**
 * The machine that a guest hypervisor sees: by the ID registers of its VM where the run has them (`cN.idregs.txt`), else the host's as KVM limits it: no
 * granule below the host's page size, 48 bits of physical address. Refused: what reading the file refuses, and a host without a legal IPA size.
 */
export function guestMachine(options: ReplayOptions, known: readonly KernelTables[], host: HostProfile, backend: Backend): Outcome<NestedGuest> {
  const { granule, features } = host;
  const lpa2 = features.lpa2Granules2.includes(granule);
  const limit = kvmIpaLimit({ granule, paBits: features.paBits, features: { granules: features.granules2, lpa: features.lpa, lpa2, ttst: features.ttst } });
  if (limit.kind !== 'done') {
    return limit;
  }
  const common = { backend, ipaLimit: limit.value, hostGranule: granule };
  for (const { checkpoint } of known) {
    const lines = readLines(options.files, `${checkpoint}.idregs.txt`);
    if (lines.kind !== 'done') {
      return lines;
    }
    const registers = registersOf(lines.value ?? []);
    if (registers['ID_AA64MMFR0_EL1'] !== undefined) {
      const seen = backend.registers.features(registers);
      return done({ ...common, paBits: seen.paBits, features: seen });
    }
  }
  const large = (each: Granule): boolean => GRANULES[each].pageShift >= GRANULES[granule].pageShift;
  const limited = { ...features, granules2: features.granules2.filter(large) };
  return done({ ...common, paBits: Math.min(MAX_PA_BITS, features.paBits), features: limited });
}

function registersOf(lines: readonly string[]): Readonly<Record<string, bigint>> {
  return Object.fromEntries(lines.flatMap((line) => {
    const match = ID_REGISTER.exec(line);
    return match === null ? [] : [[match[1], BigInt(`0x${match[2]}`)] as const];
  }));
}
