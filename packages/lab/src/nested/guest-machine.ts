import { type Backend, type Features, type NestedGuest, type Outcome, done, refused } from '@granule/contract';
import { type Granule, GRANULES, kvmIpaLimit } from '@granule/geometry';
import type { HostProfile } from '@granule/kvm';
import type { KernelTables } from '../replay/kernel-tables.js';
import type { ReplayOptions } from '../replay/options.js';
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
  const byHost = guestOfMachine(backend, features, granule);
  if (byHost === undefined) {
    return refused('replay.no-table', `The host's features give no VM a legal IPA size with ${granule} pages.`, 'Linux kvm_set_ipa_limit');
  }
  for (const { checkpoint } of known) {
    const lines = readLines(options.files, `${checkpoint}.idregs.txt`);
    if (lines.kind !== 'done') {
      return lines;
    }
    const registers = registersOf(lines.value ?? []);
    if (registers['ID_AA64MMFR0_EL1'] !== undefined) {
      const seen = backend.registers.features(registers);
      return done({ ...byHost, paBits: seen.paBits, features: seen });
    }
  }
  return done(byHost);
}

/** The machine that KVM shows a guest hypervisor on a host of these features and page size; undefined: such a host gives no VM a legal IPA size. */
export function guestOfMachine(backend: Backend, features: Features, hostGranule: Granule): NestedGuest | undefined {
  const { granules2, lpa, ttst, paBits } = features;
  const limit = kvmIpaLimit({ granule: hostGranule, paBits, features: { granules: granules2, lpa, lpa2: features.lpa2Granules2.includes(hostGranule), ttst } });
  if (limit.kind !== 'done') {
    return undefined;
  }
  const large = (each: Granule): boolean => GRANULES[each].pageShift >= GRANULES[hostGranule].pageShift;
  return { backend, ipaLimit: limit.value, hostGranule, paBits: Math.min(MAX_PA_BITS, paBits), features: { ...features, granules2: granules2.filter(large) } };
}

function registersOf(lines: readonly string[]): Readonly<Record<string, bigint>> {
  return Object.fromEntries(lines.flatMap((line) => {
    const match = ID_REGISTER.exec(line);
    return match === null ? [] : [[match[1], BigInt(`0x${match[2]}`)] as const];
  }));
}
