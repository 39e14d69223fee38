export { contextFormats } from './judge/context-format.js';
export { createJudge, Judge, type JudgeOptions } from './judge/judge.js';
export type { JudgedCaches } from './judge/bytes.js';
export { REPORTED_RULES, ruleOf, RULES, type ReportedRuleId, type RuleId } from './judge/rules.js';
export { verdictText, violationText, type Verdict, type Violation } from './judge/verdict.js';
export { allSetWays, ccsidr, clidr, ctr, dczid, decodeSetWay, encodeSetWay, shapeOfCcsidr } from './cache/geometry.js';
export type { Identified, SetWay } from './cache/geometry.js';
export { CacheHierarchy, type CacheConfig, type CachedPe, type MainMemory } from './cache/hierarchy.js';
export { Lines, type CacheShape } from './cache/lines.js';
export {
  guestOperation,
  invalidateInstructionLine,
  invalidateInstructions,
  maintainData,
  maintainSetWay,
  zero,
  type DataByAddress,
  type DataBySetWay,
  type GuestControls,
} from './cache/maintenance.js';
export { CacheOrder } from './cache/order.js';
export { Witness } from './cache/witness.js';
export { cachePolicy, type CacheControls, type CachePolicy, type LevelPolicy } from './cache/policy.js';
export { cacheChoices, takeCacheChoice, type CacheChoice, type Reachable } from './cache/speculation.js';
export type { Replacement } from './replacement.js';
export { tlbAddress, tlbAddressOf } from './tlb/address.js';
export { AdversarialTlb } from './tlb/adversarial.js';
export { FiniteTlb, type FiniteTlbConfig, type TlbArray } from './tlb/finite.js';
export { conflictOf, outputOf, type Conflict } from './tlb/match.js';
export { TLBI_OPERATIONS, type TlbiOperation, type TlbiReach, type TlbiRegime, type TlbiTarget } from './tlb/operations.js';
export { TlbOrder, type OrderChoice, type OrderedPe } from './tlb/order.js';
export { inScope, reachOf, scopeOf, scopeOfEffect, scopeOfWord, type TlbiIssuer } from './tlb/scope.js';
export * from './pe/index.js';
