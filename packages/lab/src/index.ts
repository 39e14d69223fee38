export { type AddressRange, clip, firstAddress, offsetIn, parseRange } from './image/addresses.js';
export { type Architecture, architectureOf } from './image/architecture.js';
export { type Image, type ImageInput, openImage } from './image/image.js';
export { addressPrinter, inputName, outputName, type RegimeTables } from './image/regime-tables.js';
export { buildTables, type BuildOptions, type BuiltTables } from './build/build.js';
export { buildJson, buildRegistersJson } from './build/json.js';
export { readRegionMap, type Region, REGION_TYPES, type RegionType } from './build/region-map.js';
export { buildAssembly, buildLines } from './build/text.js';
export { CSV_COLUMNS } from './dump/csv.js';
export { dump, DUMP_FORMATS, type DumpFormat, type DumpOptions } from './dump/dump.js';
export { FILTERS, type LeafFilter, parseFilter } from './dump/filter.js';
export type { Leaf } from './dump/leaf.js';
export {
  type Finding, type Hole, type Mapping, type MappingSink, MAX_FINDINGS, readMappings, type Scan, type ScanOptions, type TableEdge,
} from './dump/mappings.js';
export { scanJson, tablesJson } from './dump/json.js';
export { findingLines, sizeText, summaryLines, titleLine } from './dump/summary.js';
export { mappingHeading, mappingRow, permissionWidthOf } from './dump/text.js';
export { levelPrefix, type WalkAccess } from './walk/access.js';
export type { AddressWalk, DescriptorUpdate, StageEnd, StageWalk, Translated, WalkStep } from './walk/address-walk.js';
export type { FaultCause } from './walk/cause.js';
export type { CombinedResult } from './walk/combined.js';
export { walkAddress } from './walk/walk.js';
export { isNestedRegime, type ShadowWalk, walkShadow } from './nested/shadow-walk.js';
export type { ShadowState } from './nested/shadow-verdict.js';
export type { ReplayOptions } from './replay/options.js';
export { replayOps } from './replay/replay.js';
export { replayCauses } from './causes/replay.js';
export type { EntryEvent, EntryHistory } from './causes/history.js';
export { type CallCount, type CallDifference, causesText, type CausesReport, type NestedReport, type Pair, type Undetermined } from './causes/report.js';
export type { ProtLayout } from './replay/prot.js';
export {
  type CheckpointComparison, type Difference, type LeafText, type OddOperation, type OperationCount, type Place, type ReplayReport, replayText,
  type TableComparison,
} from './replay/report.js';
export { type RecordedMachine, type RecordedTask, RunRecorder } from './emit/run-recorder.js';
export type { RunFiles } from './replay/run-directory.js';
export { type CaseBackends, runCase } from './cases/run.js';
export { type Scenario, SCENARIO_SCHEMA, scenarioJsonSchema, scenarioSchema, type ScenarioInput, type Variant } from './scenario/scenario.js';
export { scenario, ScenarioBuilder, type VcpuSteps } from './scenario/builder.js';
export type { Backends } from './scenario/configure.js';
export { checkScenario, type FieldPath, readScenario, type ScenarioFile } from './scenario/read.js';
export type { Progress } from './progress.js';
export { type RunOptions, runScenario } from './scenario/run/run-scenario.js';
export { type SingleStep, type Step, type StepInput, type StepName, type StepOf, STEP_NAMES } from './scenario/steps.js';
export { bracket, type CostBracket, type Measured, type Mix, type Policy } from './cost/bracket.js';
export { durationText, parseDuration } from './cost/duration.js';
export { type CostEstimate, type CostLine, estimate } from './cost/estimate.js';
export { COST_ITEMS, type CostItem } from './cost/items.js';
export { type Cost, COST_PROFILES, type CostProfile, costProfile, type CostProfileName } from './cost/profile.js';
export { assembleReport, type MeasuredTotal, type ReportParts, type VariantRun } from './report/assemble.js';
export { type CmoCount, type Counts, type FaultCount, namedCounts, type TlbiCount, type TlbiReason, type TlbiScope } from './report/counts.js';
export type {
  EventReport, ExpectationReport, Fidelity, GeometryReport, GuestRead, MachineReport, MappingCount, PhaseReport, RunReport, ScenarioName, TableSize,
  TablesReport, VariantReport, ViolationReport,
} from './report/report.js';
export { type CacheLines, type PageCounts, Tally, type TallyOptions, tlbiScope } from './report/tally.js';
export { geometryReport, mappingCounts, tablesReport } from './report/vm-report.js';
export { reportHtml } from './report/html.js';
export { reportText } from './report/text.js';
