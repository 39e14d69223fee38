import type { NamedRegime, NestedState, ShadowContext } from '@granule/snapshot';

/** Address of the table in a VTTBR_EL2 of at most 48 bits: without VMID and CnP. */
export function tableOf(vttbr: bigint): number {
  return Number(BigInt.asUintN(48, vttbr) - (vttbr & 1n));
}

/** VTCR_EL2.TG0 (DDI 0487): 4K, 64K, 16K. */
const TG0_SHIFTS = [12, 16, 14] as const;

/** What VTCR_EL2 says of a table, as a registers file would list it; undefined: a reserved granule. */
function listed(name: string, vttbr: bigint, vtcr: bigint, tableAddresses: NamedRegime['tableAddresses'], note: string): NamedRegime | undefined {
  const granuleShift = TG0_SHIFTS[Number((vtcr >> 14n) & 3n)];
  const sl0 = Number((vtcr >> 6n) & 3n);
  return granuleShift === undefined
    ? undefined
    : {
        name, stage: 2, root: tableOf(vttbr), granuleShift, iaBits: 64 - Number(vtcr & 0x3fn), startLevel: (granuleShift === 12 ? 2 : 3) - sl0,
        descriptorFormat: 'd64', upperRange: false, tableAddresses, note,
      };
}

/** The name of the VM's own stage 2 among listed regimes. */
export function canonicalRegime(nested: NestedState, regimes: readonly NamedRegime[]): NamedRegime | undefined {
  return regimes.find(({ stage, root, tableAddresses }) => stage === 2 && tableAddresses === 'physical' && root === tableOf(nested.canonicalVTTBR_EL2));
}

/** Contexts that were seen, the one that runs first. */
export function contextsOf({ current, shadowsSeen }: NestedState): readonly ShadowContext[] {
  return [...(current === undefined ? [] : [current]), ...shadowsSeen];
}

/**
 * Shadows, and the tables of a guest hypervisor, that the `nested` object of a registers file tells of and its list of regimes does not. The hypervisor's need
 * the VM's own stage 2 among the listed ones, to read them through.
 */
export function nestedRegimes(nested: NestedState, regimes: readonly NamedRegime[]): readonly NamedRegime[] {
  const own = canonicalRegime(nested, regimes);
  const all = [...regimes];
  const add = (regime: NamedRegime | undefined): void => {
    const there = regime === undefined || all.some((each) => each.root === regime.root && sameSpace(each, regime));
    if (!there) {
      all.push(regime);
    }
  };
  for (const { hwVTTBR, hwVTCR, virtVTTBR, virtVTCR, virtHCR, seenAt } of contextsOf(nested)) {
    add(listed(`shadow-${seenAt}`, hwVTTBR, hwVTCR, 'physical', `shadow stage 2 that was current at ${seenAt}`));
    if (own !== undefined && (virtHCR & 1n) === 1n) {
      add(listed(`guest-${seenAt}`, virtVTTBR, virtVTCR, { ipaOf: own.name }, `guest hypervisor's tables at ${seenAt}`));
    }
  }
  return all.slice(regimes.length);
}

function sameSpace(a: NamedRegime, b: NamedRegime): boolean {
  const space = ({ tableAddresses }: NamedRegime): string => (tableAddresses === 'physical' ? '' : tableAddresses.ipaOf);
  return space(a) === space(b);
}
