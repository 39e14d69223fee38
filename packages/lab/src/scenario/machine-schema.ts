import type { Features } from '@granule/contract';
import { z } from 'zod';
import { amount, fields, oneOf, oneOfNumbers, powerOf2, text, whole, word, yes } from './values.js';

const cache = fields({
  sets: powerOf2(1, 2 ** 20).describe('A power of 2.'),
  ways: whole(1, 64),
});

const caches = fields({
  lineBytes: powerOf2(16, 2048).optional().describe('A power of 2; default 64.'),
  data: cache.describe('L1 of each PE.'),
  instruction: cache.extend({ index: oneOf('virtual', 'physical').optional() }).optional().describe('L1 of each PE; default as the data cache, PIPT.'),
  outer: cache.optional().describe('Level 2, shared.'),
  system: cache.optional().describe('A cache before the point of coherency that no register tells of: set/way operations do not reach it.'),
}).describe('Caches with bytes in them; absent: accesses go to memory.');

const finite = fields({
  leaves: cache.describe('Stage 1, stage 2 and combined entries, of every size.'),
  tables: cache.optional().describe('Walk cache.'),
});

const granules = z.array(oneOf('4K', '16K', '64K'));

/** {@link Features}, each as it may be set. */
const features = fields({
  paBits: oneOfNumbers(32, 36, 40, 42, 44, 48, 52),
  vmidBits: oneOfNumbers(8, 16),
  bbm: whole(0, 2),
  granules1: granules,
  granules2: granules,
  lpa2Granules1: granules,
  lpa2Granules2: granules,
  lpa: yes, lva: yes, ttst: yes, xnx: yes, s2fwb: yes, ttl: yes, tlbirange: yes, hpds: yes, hpds2: yes, haf: yes, hdbs: yes,
  pan: yes, pan3: yes, e0pd: yes, vhe: yes, xs: yes, cnp: yes, bti: yes, idc: yes, dic: yes, mte: yes, pauth: yes, nv: yes, ras: yes,
} satisfies Record<keyof Features, z.ZodType>).partial();

export const machine = fields({
  arch: oneOf('armv8', 'armv7-lpae').optional().describe('Of this architecture alone. Absent: of either one; armv8 unless --arch says otherwise.'),
  needs: text.optional().describe('What of `arch` the scenario needs, for those who ask for another one.'),
  cpu: oneOf('cortex-a15', 'cortex-a53', 'cortex-a57', 'cortex-a76', 'neoverse-n2', 'max').optional()
    .describe('Its ID registers; default cortex-a76, or cortex-a15 with armv7-lpae.'),
  registers: z.record(z.string(), word).optional().describe("ID registers by their Arm names, over the CPU's."),
  features: features.optional().describe('Over what the ID registers say.'),
  pes: whole(1, 64).optional().describe('Default 1.'),
  caches: caches.optional(),
  tlb: z.union([z.literal('adversarial'), finite], { error: 'is neither adversarial nor the arrays of a finite TLB' }).optional()
    .describe('adversarial (default): keeps all that the architecture lets it keep.'),
  seed: whole(0, 2 ** 32 - 1).optional().describe('With it, what the architecture leaves to the moment is decided at random from this seed.'),
  tables: amount.optional().describe('Physical address of the first page for translation tables; default above the memory.'),
});

export const host = fields({
  kernel: text.optional().describe('Linux version whose policy it is; default 7.2.'),
  granule: oneOf('4K', '16K', '64K').optional().describe("The host's page size; default 4K."),
  vaBits: whole(36, 52).optional().describe('VA bits of the host kernel; default 48 (16K: 47, ARMv7: 39).'),
  hardwareAccessFlag: yes.optional().describe('VTCR_EL2.HA where FEAT_HAFDBS is there; default true.'),
  tlbRange: yes.optional().describe('FEAT_TLBIRANGE is used where it is there; default true.'),
});

export const vm = fields({
  ipaBits: whole(1, 64).optional().describe('Default 40.'),
  vcpus: whole(1, 64).optional().describe('Default 1.'),
  invalidation: oneOf('each', 'deferred', 'vm-wide', 'elided').optional().describe("TLB invalidation of what is unmapped; default deferred, as today's Linux."),
  maintenance: oneOf('map-and-unmap', 'map', 'unmap', 'none').optional().describe('When memory is cleaned to PoC; default map-and-unmap, as Linux.'),
  rollover: oneOf('all', 'elided').optional().describe('Whether all VMIDs are invalidated when they begin anew; default all, as Linux.'),
  cacheEmulation: oneOf('linux', 'per-cpu', 'xen-deferred').optional().describe('Set/way operations and cache toggling; default linux.'),
  ioremap: oneOf('pages', 'pmd-blocks', 'largest-block', 'at-fault').optional()
    .describe('How device memory of a slot is mapped; default as the kernel does. The step ioremap: default pages.'),
  dirtyLog: oneOf('off', 'manual', 'initially-set').optional().describe('KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2; default off.'),
  splitChunk: amount.optional().describe('KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE, bytes; default 0, off.'),
  nested: fields({
    key: oneOf('vttbr+vtcr', 'vmid', 'vmid-unmap-on-baddr').optional()
      .describe("What a shadow stage 2 is found by: VTTBR_EL2 and VTCR_EL2 (default, today's), or one of the designs of 2017."),
  }).optional().describe('KVM_ARM_VCPU_HAS_EL2: the guest is a hypervisor, its vCPUs begin at a virtual EL2. Absent: they have none.'),
});

export const hyp = fields({
  policy: oneOf('per-object-2016', 'unmap-without-flush', 'nvhe', 'nvhe-linear', 'pkvm', 'vhe').optional().describe('Default nvhe.'),
  unmaps: yes.optional().describe('Whether hyp mappings are ever unmapped; default as the policy.'),
  tlbFlush: yes.optional().describe('Whether an unmapped hyp range is invalidated in the TLB; default as the policy.'),
  vaBits: whole(32, 52).optional().describe("Default the host's."),
  idmap: amount.describe('Physical address of the identity-mapped code, one page.'),
  ram: fields({ start: amount, size: amount }).describe('Physical memory of the linear map.'),
}).describe("EL2's own table; absent: none is made.");

/** Memory of the VMM: one VMA. */
export const memory = fields({
  hva: amount,
  size: amount,
  physical: amount.describe('Of `hva`; the whole is one physical range.'),
  kind: oneOf('anonymous', 'hugetlb', 'device').optional().describe('Default anonymous.'),
  page: amount.optional().describe("Bytes of the entries that map it in the host's table (2M: huge pages); default a page."),
  memory: oneOf('normal', 'device', 'normal-nc').optional().describe('Default normal; of a device, device.'),
  writable: yes.optional().describe('Default true.'),
});

export const slot = fields({
  slot: whole(0, 2 ** 31 - 1).optional().describe('Its number; default its place in the list.'),
  ipa: amount,
  size: amount,
  hva: amount,
  readonly: yes.optional(),
  logDirty: yes.optional(),
});

export type MachineSpec = z.output<typeof machine>;
export type HostSpec = z.output<typeof host>;
export type VmSpec = z.output<typeof vm>;
export type HypSpec = z.output<typeof hyp>;
export type MemorySpec = z.output<typeof memory>;
export type SlotSpec = z.output<typeof slot>;
