/** What one level of caches does with an access. */
export interface LevelPolicy {
  readonly cacheable: boolean;
  /** Write-Through: a line is never dirty. */
  readonly through: boolean;
  readonly allocatesOnRead: boolean;
  readonly allocatesOnWrite: boolean;
}

/** What caches do with an access: by memory type, shareability and the controls in force. */
export interface CachePolicy {
  /** L1. */
  readonly inner: LevelPolicy;
  /** The shared level and the system cache. */
  readonly outer: LevelPolicy;
  /** Which PEs' data caches are kept coherent with it, and which maintenance by address reaches. */
  readonly share: 'non' | 'inner' | 'outer';
}

/** The bits that decide whether memory attributes count. All for the regime and the stage 2 in force. */
export interface CacheControls {
  /** SCTLR_ELx.C and I. */
  readonly dataCache: boolean;
  readonly instructionCache: boolean;
  /** HCR_EL2.CD and ID. */
  readonly dataNonCacheable?: boolean;
  readonly instructionNonCacheable?: boolean;
  /** HCR_EL2.FWB with MemAttr 0b0110: Normal Write-Back whatever stage 1 says (FEAT_S2FWB). */
  readonly forceWriteBack?: boolean;
}

const NOT_CACHED: LevelPolicy = { cacheable: false, through: false, allocatesOnRead: false, allocatesOnWrite: false };
const WRITE_BACK: LevelPolicy = { cacheable: true, through: false, allocatesOnRead: true, allocatesOnWrite: true };
const WRITE_THROUGH: LevelPolicy = { ...WRITE_BACK, through: true };
/** Device and Non-cacheable memory is Outer Shareable, whatever SH says (DDI 0487 B2.10). */
const UNCACHED: CachePolicy = { inner: NOT_CACHED, outer: NOT_CACHED, share: 'outer' };
const SHARES = ['non', 'non', 'outer', 'inner'] as const;

/** A nibble of a MAIR byte, not 0 in the outer place: W0RW, 0100 Non-cacheable (DDI 0487 D24.2, MAIR_EL1). */
function nibblePolicy(nibble: number): LevelPolicy {
  if (nibble === 0b0100) return NOT_CACHED;
  return { cacheable: true, through: (nibble & 0b0100) === 0, allocatesOnRead: (nibble & 2) !== 0, allocatesOnWrite: (nibble & 1) !== 0 };
}

function ofAttributes(attributes: number, shareability: number): CachePolicy {
  if (attributes >> 4 === 0 || attributes === 0x44 || attributes === 0x40) return UNCACHED;
  const share = SHARES[shareability];
  // Encodings without an inner nibble: Write-Through with XS = 0, and Tagged Write-Back.
  if (attributes === 0xa0) return { inner: WRITE_THROUGH, outer: WRITE_THROUGH, share };
  if (attributes === 0xf0) return { inner: WRITE_BACK, outer: WRITE_BACK, share };
  return { inner: nibblePolicy(attributes & 0xf), outer: nibblePolicy(attributes >> 4), share };
}

const POLICIES: readonly CachePolicy[] = Array.from({ length: 1024 }, (_, index) => ofAttributes(index >> 2, index & 3));
const FORCED: readonly CachePolicy[] = SHARES.map((share) => ({ inner: WRITE_BACK, outer: WRITE_BACK, share }));

/**
 * The policy of an access to memory with these attributes (a MAIR byte, SH[1:0]), both stages combined. SCTLR.C and I turn stage 1's Normal
 * memory Non-cacheable, stage 2 may force Write-Back over that, and HCR_EL2.CD and ID have the last word.
 */
export function cachePolicy(attributes: number, shareability: number, fetch: boolean, controls: CacheControls): CachePolicy {
  if ((fetch ? controls.instructionNonCacheable : controls.dataNonCacheable) === true) return UNCACHED;
  if (controls.forceWriteBack === true) return FORCED[shareability];
  return (fetch ? controls.instructionCache : controls.dataCache) ? POLICIES[(attributes << 2) | shareability] : UNCACHED;
}
