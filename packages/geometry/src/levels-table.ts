/**
 * Levels as literals, for the compiler: it cannot divide. Rows are levels of a table of that many bits, `levels(granule, bits)`; a test
 * computes each row again. KVM's stage 2 resolves four bits by concatenation: its row is that of `ipaBits - 4`, at least 2
 * (`kvmStage2Levels`).
 */
export const LEVELS = {
  '4K': {
    28: 2, 29: 2, 30: 2, 31: 3, 32: 3, 33: 3, 34: 3, 35: 3, 36: 3, 37: 3, 38: 3, 39: 3, 40: 4,
    41: 4, 42: 4, 43: 4, 44: 4, 45: 4, 46: 4, 47: 4, 48: 4, 49: 5, 50: 5, 51: 5, 52: 5,
  },
  '16K': {
    28: 2, 29: 2, 30: 2, 31: 2, 32: 2, 33: 2, 34: 2, 35: 2, 36: 2, 37: 3, 38: 3, 39: 3, 40: 3,
    41: 3, 42: 3, 43: 3, 44: 3, 45: 3, 46: 3, 47: 3, 48: 4, 49: 4, 50: 4, 51: 4, 52: 4,
  },
  '64K': {
    28: 1, 29: 1, 30: 2, 31: 2, 32: 2, 33: 2, 34: 2, 35: 2, 36: 2, 37: 2, 38: 2, 39: 2, 40: 2,
    41: 2, 42: 2, 43: 3, 44: 3, 45: 3, 46: 3, 47: 3, 48: 3, 49: 3, 50: 3, 51: 3, 52: 3,
  },
} as const;

/** `ipaBits - 4`, for the IPA sizes that KVM accepts. */
export const LESS_FOUR = {
  32: 28, 33: 29, 34: 30, 35: 31, 36: 32, 37: 33, 38: 34, 39: 35, 40: 36, 41: 37, 42: 38, 43: 39, 44: 40,
  45: 41, 46: 42, 47: 43, 48: 44, 49: 45, 50: 46, 51: 47, 52: 48,
} as const;
