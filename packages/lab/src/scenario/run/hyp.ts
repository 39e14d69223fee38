import { type Backend, type Outcome, type Registers, done } from '@granule/contract';
import { type Level, tableGeometry } from '@granule/geometry';
import { alignDown } from '@granule/geometry/bits';
import { DownwardVa, HYP_POLICIES, hypAddress, type HypLayout, hypLayout, HypMappings, type HypPolicy, type PrivateVa, SharedPages, UpwardVa } from '@granule/kvm';
import { createPageTable, type GranulePageTable } from '@granule/pgtable';
import type { Configuration } from '../configure.js';
import type { HypSpec } from '../machine-schema.js';
import { archNames, encoded } from './arch.js';
import type { World } from './world.js';

/** Normal Write-Back, Non-cacheable and Device types by index, as Linux has them. */
export const HYP_MAIR = 0xff44_0c04_00ffn;
const GIGABYTE = 30;
/** A 32-bit kernel: hyp addresses are the kernel's own (KERN_TO_HYP is the identity), its linear map begins here. */
const ARMV7_PAGE_OFFSET = 0xc000_0000;
const ARMV7_VA_BITS = 32;

/** EL2's own table on the bench. */
export class Hyp {
  readonly mappings: HypMappings;
  readonly shared: SharedPages;
  readonly #layout: HypLayout;
  readonly #linearOffset: number;

  constructor(
    readonly table: GranulePageTable,
    private readonly world: World,
    layout: HypLayout,
    linearOffset: number,
    policy: HypPolicy,
  ) {
    this.#layout = layout;
    this.#linearOffset = linearOffset;
    const { pageShift } = table.format.geometry;
    const privateVa = privateVaOf(layout, policy, pageShift);
    this.mappings = new HypMappings({ policy, layout, linearOffset, table, privateVa });
    const call = (name: string) => {
      world.recorder.tally.trap(name);
      return { kind: 'done' as const, value: undefined };
    };
    this.shared = new SharedPages({ share: () => call('host_share_hyp'), unshare: () => call('host_unshare_hyp') }, pageShift);
  }

  /** Where EL2 sees a byte of memory. */
  addressOf(physical: number): number {
    return hypAddress(this.#layout, physical - this.#linearOffset);
  }

  /** EL2's registers with the table in force. */
  get registers(): Registers {
    return hypRegisters(this.world.config.backend, this.table);
  }

}

/** Makes EL2's table as its policy has it at boot. Refused: `hyp.idmap-conflict`, what the backend refuses. */
export function createHyp(world: World, spec: HypSpec): Outcome<Hyp> {
  const { config, arena } = world;
  const { backend } = config;
  const names = archNames(backend);
  const { unmaps, tlbFlush: invalidates } = spec;
  const policy: HypPolicy = { ...HYP_POLICIES[spec.policy ?? 'nvhe'], ...(unmaps !== undefined && { unmaps }), ...(invalidates !== undefined && { invalidates }) };
  const geometry = hypGeometry(config, spec);
  const format = backend.format(names.hyp, { geometry, features: config.features, mair: HYP_MAIR });
  if (format.kind !== 'done') {
    return format;
  }
  const table = createPageTable({ format: format.value, memory: arena, sink: world.side.sinkOf(format.value) });
  if (table.kind !== 'done') {
    return table;
  }
  const linear = linearOf(config, spec);
  const layout = linear.fixed ?? hypLayout({ vaBits: geometry.iaBits, idmap: spec.idmap, linear: { start: spec.ram.start - linear.offset, end: spec.ram.start + spec.ram.size - linear.offset } });
  if (layout.kind !== 'done') {
    return layout;
  }
  const hyp = new Hyp(table.value, world, layout.value, linear.offset, policy);
  const page = 2 ** geometry.pageShift;
  const booted = [hyp.mappings.mapIdmap(spec.idmap, spec.idmap + page)];
  if (policy.linearMap === 'up-front') {
    booted.push(hyp.mappings.mapLinear(spec.ram.start, spec.ram.start + spec.ram.size));
  }
  return booted.find((each) => each.kind !== 'done') ?? done(hyp);
}

function hypGeometry({ host, backend, features }: Configuration, spec: HypSpec) {
  const armv7 = archNames(backend).hyp === 'pl2';
  const granule = armv7 ? '4K' : host.granule;
  const iaBits = armv7 ? ARMV7_VA_BITS : (spec.vaBits ?? host.vaBits);
  const stride = { '4K': 9, '16K': 11, '64K': 13 }[granule];
  // Linux kvm_pgtable_hyp_init: 4 less the levels of the VA size.
  const startLevel = (4 - Math.floor((iaBits - 4) / stride)) as Level;
  return tableGeometry({ stage: 1, granule, iaBits, oaBits: Math.min(48, features.paBits), startLevel, ds: false });
}

function linearOf({ backend }: Configuration, { ram, idmap }: HypSpec): { readonly offset: number; readonly fixed?: Outcome<HypLayout> } {
  if (archNames(backend).hyp !== 'pl2') {
    return { offset: alignDown(ram.start, GIGABYTE) };
  }
  return { offset: ram.start - ARMV7_PAGE_OFFSET, fixed: done({ vaBits: ARMV7_VA_BITS, idmap, tagLsb: ARMV7_VA_BITS, tag: 0 }) };
}

/** nVHE: down from the identity map; pKVM: the free quarter beside it, its lower half for IO and its upper for page structures (hyp_create_idmap). */
function privateVaOf(layout: HypLayout, policy: HypPolicy, pageShift: number): PrivateVa {
  if (policy.name !== 'pkvm') {
    return new DownwardVa(layout, pageShift);
  }
  const quarter = 2 ** (layout.vaBits - 2);
  const idmap: number = layout.idmap;
  const half = idmap - (idmap % (2 * quarter));
  const base = half + (Math.floor(idmap / quarter) % 2 === 0 ? quarter : 0);
  return new UpwardVa(base, base + quarter / 2, pageShift);
}

function hypRegisters(backend: Backend, { root, format }: GranulePageTable): Registers {
  const { iaBits, granule } = format.geometry;
  if (archNames(backend).hyp === 'pl2') {
    return {
      HSCTLR: encoded(backend, 'HSCTLR', { M: 1, C: 1, I: 1 }), HTCR: encoded(backend, 'HTCR', { IRGN0: 1, ORGN0: 1, SH0: 3 }), HTTBR: BigInt(root),
      HMAIR0: HYP_MAIR & 0xffff_ffffn, HMAIR1: HYP_MAIR >> 32n,
    };
  }
  const tg = { '4K': 0, '64K': 1, '16K': 2 }[granule];
  return {
    SCTLR_EL2: encoded(backend, 'SCTLR_EL2', { M: 1, C: 1, I: 1 }), TTBR0_EL2: BigInt(root), MAIR_EL2: HYP_MAIR,
    TCR_EL2: encoded(backend, 'TCR_EL2', { T0SZ: 64 - iaBits, TG0: tg, PS: 5, IRGN0: 1, ORGN0: 1, SH0: 3 }),
  };
}
