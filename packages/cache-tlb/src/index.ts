export { contextFormats } from './judge/context-format.js';
export { createJudge, Judge, type JudgeOptions } from './judge/judge.js';
export { REPORTED_RULES, ruleOf, RULES, type ReportedRuleId, type RuleId } from './judge/rules.js';
export { verdictText, violationText, type Verdict, type Violation } from './judge/verdict.js';
