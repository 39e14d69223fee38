import { breakRules } from '@granule/contract/codec';

/** The break-before-make rules of VMSAv8-64. */
export const BREAK_RULES = breakRules('DDI 0487 D8.17.1', {
  clause: 'DDI 0487 D8.17.2',
  blockSize: 'The translation changes between a table and a block, and the FEAT_BBM level (with nT at level 1) does not permit that live.',
  contiguous: 'The Contiguous bit of a valid leaf changes, which FEAT_BBM permits live from level 1 on.',
});
