import {
  done,
  type Backend,
  type Features,
  type Format,
  type Outcome,
  type Registers,
  type Stage1Control,
  type TlbRegime,
} from '@granule/contract';
import { context, type Choices, type Context } from '@granule/mmu';
import { pow2 } from '@granule/geometry/bits';
import { ADDRESS_END, tlbAddressOf } from '../tlb/address.js';
import type { TlbiIssuer } from '../tlb/scope.js';

const TWO_32 = 2 ** 32;

/** How one regime and VA range are translated now. */
export interface Setting {
  readonly context: Context;
  /** As `mmu` names it. */
  readonly regime: string;
  readonly tlbRegime: TlbRegime;
  readonly control: Stage1Control;
  /** Stage 1 and stage 2, where they are on and legal. */
  readonly format1: Format | undefined;
  readonly format2: Format | undefined;
  /** Where walks begin; −1: there is none. */
  readonly root1: number;
  readonly root2: number;
  /** Alike for settings whose walks have the same steps: what is held of a walk of one can be part of a walk of the other. */
  readonly shape: string;
  /** First address of the range, as TLBs count it. */
  readonly start: number;
  /** A VA as TLBs count it. */
  readonly place: (va: bigint) => number;
  readonly vmid: number;
  /** −1: the regime has none, or stage 1 is off. */
  readonly asid: number;
}

/** Registers that hold what a TLB entry is tagged with. */
interface TagRegisters {
  readonly vttbr: string;
  readonly hcr: string;
  /** Of each regime with ASIDs: the control register, its layout, and the base registers. */
  readonly asids: Readonly<Record<string, { readonly tcr: string; readonly layout: string; readonly ttbr: readonly [string, string] } | undefined>>;
}

const AARCH64: TagRegisters = {
  vttbr: 'VTTBR_EL2',
  hcr: 'HCR_EL2',
  asids: {
    el10: { tcr: 'TCR_EL1', layout: 'TCR_EL1', ttbr: ['TTBR0_EL1', 'TTBR1_EL1'] },
    el20: { tcr: 'TCR_EL2', layout: 'TCR_EL2_E2H', ttbr: ['TTBR0_EL2', 'TTBR1_EL2'] },
  },
};
const AARCH32: TagRegisters = { vttbr: 'VTTBR', hcr: 'HCR', asids: { pl10: { tcr: 'TTBCR', layout: 'TTBCR', ttbr: ['TTBR0', 'TTBR1'] } } };

const TLB_REGIMES: Readonly<Record<string, TlbRegime | undefined>> = { el10: 'el10', pl10: 'el10', el20: 'el20', el2: 'el2', pl2: 'el2' };

/** Registers of a PE, decoded once for each change of them. */
export class Decoded {
  readonly issuer: TlbiIssuer;
  readonly vmid: number;
  readonly #settings = new Map<string, Setting>();

  constructor(
    readonly context: Context,
    private readonly registers: Registers,
    private readonly backend: Backend,
    private readonly features: Partial<Features>,
    private readonly tags: TagRegisters,
  ) {
    const hcr = this.#fields(tags.hcr);
    const ds = (name: string, layout = name): boolean => this.#fields(name, layout)['DS'] === 1n;
    this.vmid = this.#vmid();
    this.issuer = {
      el: 2,
      vmid: this.vmid,
      e2h: hcr['E2H'] === 1n && features.vhe === true,
      tge: hcr['TGE'] === 1n,
      forceBroadcast: hcr['FB'] === 1n,
      lpa2: (features.lpa2Granules1 ?? []).length + (features.lpa2Granules2 ?? []).length > 0,
      ds1: ds('TCR_EL1'),
      ds2: ds('TCR_EL2', hcr['E2H'] === 1n ? 'TCR_EL2_E2H' : 'TCR_EL2'),
      dsStage2: ds('VTCR_EL2'),
    };
  }

  /** A bit of HCR; false where this architecture version has no such bit. */
  hcr(bit: string): boolean {
    return this.#fields(this.tags.hcr)[bit] === 1n;
  }

  /** Undefined where the registers have no such regime. */
  setting(regime: string, upper: boolean): Setting | undefined {
    const key = upper ? `${regime} upper` : regime;
    const known = this.#settings.get(key);
    if (known !== undefined) return known;
    const stage = this.context.regimes.get(regime);
    const tlbRegime = TLB_REGIMES[regime];
    if (stage === undefined || tlbRegime === undefined) return undefined;
    const { control } = stage;
    const first = control.on ? (upper ? stage.upper : stage.lower) : undefined;
    const second = stage.virtualised ? this.context.stage2?.tables : undefined;
    const steps = (format: Format | undefined): string =>
      format === undefined ? '-' : `${format.backend} ${format.geometry.granule} ${format.geometry.startLevel} ${format.geometry.iaBits}`;
    const setting: Setting = {
      context: this.context,
      regime,
      tlbRegime,
      control,
      format1: first?.format,
      format2: second?.format,
      root1: first?.base ?? -1,
      root2: second?.base ?? -1,
      shape: `${control.on} ${steps(first?.format)} ${steps(second?.format)}`,
      start: upper ? (control.state === 'aarch32' ? TWO_32 : ADDRESS_END) - pow2(control.upper!.iaBits) : 0,
      place: control.state === 'aarch32' ? Number : tlbAddressOf,
      vmid: tlbRegime === 'el10' ? this.vmid : 0,
      asid: control.on ? this.asid(regime) : -1,
    };
    this.#settings.set(key, setting);
    return setting;
  }

  /** The setting that translates `va`. */
  settingAt(regime: string, va: bigint): Setting | undefined {
    const control = this.context.regimes.get(regime)?.control;
    if (control?.upper === undefined) return this.setting(regime, false);
    return this.setting(regime, control.state === 'aarch32' ? Number(va) >= control.upperStart : (va & (1n << 55n)) !== 0n);
  }

  /** The ASID in force in a regime; −1 where it has none. */
  asid(regime: string): number {
    const from = this.tags.asids[regime];
    if (from === undefined) return -1;
    const tcr = this.#fields(from.tcr, from.layout);
    const asid = Number(this.#fields(from.ttbr[tcr['A1'] === 1n ? 1 : 0])['ASID'] ?? 0n);
    return tcr['AS'] === 0n ? asid % 256 : asid;
  }

  #vmid(): number {
    const vmid = Number(this.#fields(this.tags.vttbr)['VMID'] ?? 0n);
    return this.#fields('VTCR_EL2')['VS'] === 1n && this.features.vmidBits === 16 ? vmid : vmid % 256;
  }

  #fields(name: string, layout = name): Readonly<Record<string, bigint>> {
    const fields = this.backend.registers.decode(layout, this.registers[name] ?? 0n);
    return fields.kind === 'done' ? fields.value : {};
  }
}

/** Register sets decoded so far. */
export class Contexts {
  readonly #known = new Map<string, Outcome<Decoded>>();
  readonly #tags: TagRegisters;

  constructor(
    readonly backend: Backend,
    readonly features: Partial<Features>,
    private readonly choices: Choices = {},
  ) {
    this.#tags = backend.registers.names.includes('VTTBR_EL2') ? AARCH64 : AARCH32;
  }

  /** Refused and not modelled as `context` of mmu. */
  of(registers: Registers): Outcome<Decoded> {
    const key = Object.entries(registers).map(([name, value]) => `${name}=${value}`).join();
    let decoded = this.#known.get(key);
    if (decoded === undefined) {
      const made = context(this.backend, this.features, registers, this.choices);
      decoded = made.kind === 'done' ? done(new Decoded(made.value, registers, this.backend, this.features, this.#tags)) : made;
      this.#known.set(key, decoded);
    }
    return decoded;
  }
}
