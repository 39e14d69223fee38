/** What an invalidation names: everything of its regime, an ASID, the entries for one address, or those for a range. */
export type TlbiTarget = 'all' | 'asid' | 'address' | 'range';

/**
 * The regime an invalidation acts on. `el1`: EL1&0, or EL2&0 with HCR_EL2.{E2H,TGE} = {1,1}. `el10`: EL1&0 always. `el2`: EL2, or EL2&0
 * with HCR_EL2.E2H = 1. `hyp`: EL2 always (AArch32).
 */
export type TlbiRegime = 'el1' | 'el10' | 'el2' | 'hyp';

/** How far an invalidation reaches: this PE, or its Inner or Outer Shareable domain. */
export type TlbiReach = 'local' | 'inner' | 'outer';

/** One invalidation, as its name says it. */
export interface TlbiOperation {
  readonly target: TlbiTarget;
  readonly regime: TlbiRegime;
  /** Entries that hold stage 1, alone or combined with stage 2. */
  readonly stage1: boolean;
  /** Entries of stage 2 alone. `from-el2`: where the operation is executed at EL2. */
  readonly stage2: boolean | 'from-el2';
  /** Only entries of the current VMID, in a regime that has VMIDs. */
  readonly usesVmid: boolean;
  /** Only entries of the ASID named, and global leaves (unless the target is the ASID itself). */
  readonly usesAsid: boolean;
  /** Entries of intermediate levels need not go. */
  readonly lastLevel: boolean;
  readonly reach: TlbiReach;
  /** nXS: complete without waiting for accesses with the XS attribute (FEAT_XS). The entries that go are the same. */
  readonly nxs: boolean;
}

type Base = Omit<TlbiOperation, 'reach' | 'nxs'>;

const EL1: Base = { target: 'all', regime: 'el1', stage1: true, stage2: false, usesVmid: true, usesAsid: false, lastLevel: false };
const EL2: Base = { ...EL1, regime: 'el2', usesVmid: false };
const HYP: Base = { ...EL2, regime: 'hyp' };
const IPA: Base = { ...EL1, regime: 'el10', stage1: false, stage2: true };

/** DDI 0487 C5.5, without the suffixes IS, OS, nXS. */
const AARCH64: Readonly<Record<string, Base>> = {
  VAE1: { ...EL1, target: 'address', usesAsid: true },
  VALE1: { ...EL1, target: 'address', usesAsid: true, lastLevel: true },
  VAAE1: { ...EL1, target: 'address' },
  VAALE1: { ...EL1, target: 'address', lastLevel: true },
  ASIDE1: { ...EL1, target: 'asid', usesAsid: true },
  VMALLE1: EL1,
  VMALLS12E1: { ...EL1, regime: 'el10', stage2: true },
  ALLE1: { ...EL1, regime: 'el10', stage2: true, usesVmid: false },
  IPAS2E1: { ...IPA, target: 'address' },
  IPAS2LE1: { ...IPA, target: 'address', lastLevel: true },
  VAE2: { ...EL2, target: 'address', usesAsid: true },
  VALE2: { ...EL2, target: 'address', usesAsid: true, lastLevel: true },
  ALLE2: EL2,
  RVAE1: { ...EL1, target: 'range', usesAsid: true },
  RVALE1: { ...EL1, target: 'range', usesAsid: true, lastLevel: true },
  RVAAE1: { ...EL1, target: 'range' },
  RVAALE1: { ...EL1, target: 'range', lastLevel: true },
  RIPAS2E1: { ...IPA, target: 'range' },
  RIPAS2LE1: { ...IPA, target: 'range', lastLevel: true },
  RVAE2: { ...EL2, target: 'range', usesAsid: true },
  RVALE2: { ...EL2, target: 'range', usesAsid: true, lastLevel: true },
};

/**
 * DDI 0406C B3.10.6 and, for what ARMv8 adds (last level, by IPA), DDI 0487 G8.2; without the suffix IS. Executed in Hyp mode, TLBIALL
 * takes stage 2 too: Linux's KVM for ARMv7, which has no invalidation by IPA, rests on that (arch/arm/kvm/hyp/tlb.c, __kvm_tlb_flush_vmid).
 */
const AARCH32: Readonly<Record<string, Base>> = {
  TLBIALL: { ...EL1, regime: 'el10', stage2: 'from-el2' },
  TLBIASID: { ...EL1, regime: 'el10', target: 'asid', usesAsid: true },
  TLBIMVA: { ...EL1, regime: 'el10', target: 'address', usesAsid: true },
  TLBIMVAA: { ...EL1, regime: 'el10', target: 'address' },
  TLBIMVAL: { ...EL1, regime: 'el10', target: 'address', usesAsid: true, lastLevel: true },
  TLBIMVAAL: { ...EL1, regime: 'el10', target: 'address', lastLevel: true },
  TLBIALLNSNH: { ...EL1, regime: 'el10', stage2: true, usesVmid: false },
  TLBIALLH: HYP,
  TLBIMVAH: { ...HYP, target: 'address' },
  TLBIMVALH: { ...HYP, target: 'address', lastLevel: true },
  TLBIIPAS2: { ...IPA, target: 'address' },
  TLBIIPAS2L: { ...IPA, target: 'address', lastLevel: true },
};

/** Instruction-side and data-side forms, which ARMv7 deprecates: here both sides have one TLB. Local alone. */
const SIDED: Readonly<Record<string, Base>> = Object.fromEntries(
  ['I', 'D'].flatMap((side) => ['ALL', 'MVA', 'ASID'].map((form) => [`${side}TLBI${form}`, AARCH32[`TLBI${form}`]])),
);

function operationTable(): ReadonlyMap<string, TlbiOperation> {
  const table = new Map<string, TlbiOperation>();
  for (const [name, base] of Object.entries(AARCH64)) {
    for (const [suffix, reach] of [['', 'local'], ['IS', 'inner'], ['OS', 'outer']] as const) {
      table.set(name + suffix, { ...base, reach, nxs: false });
      table.set(`${name}${suffix}NXS`, { ...base, reach, nxs: true });
    }
  }
  for (const [name, base] of Object.entries(AARCH32)) {
    table.set(name, { ...base, reach: 'local', nxs: false });
    table.set(`${name}IS`, { ...base, reach: 'inner', nxs: false });
  }
  for (const [name, base] of Object.entries(SIDED)) table.set(name, { ...base, reach: 'local', nxs: false });
  return table;
}

/** Every invalidation by its Arm name (`IPAS2E1IS`, `RVALE2OSNXS`, `TLBIALLNSNHIS`, …). */
export const TLBI_OPERATIONS = operationTable();
