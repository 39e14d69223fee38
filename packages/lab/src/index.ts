export { type AddressRange, clip, firstAddress, offsetIn, parseRange } from './image/addresses.js';
export { type Architecture, architectureOf } from './image/architecture.js';
export { type Image, type ImageInput, openImage } from './image/image.js';
export { addressPrinter, inputName, outputName, type RegimeTables } from './image/regime-tables.js';
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
export { replayOps, type ReplayOptions } from './replay/replay.js';
export { replayCauses } from './causes/replay.js';
export { type CallCount, type CallDifference, causesText, type CausesReport, type Undetermined } from './causes/report.js';
export type { ProtLayout } from './replay/prot.js';
export {
  type CheckpointComparison, type Difference, type LeafText, type OddOperation, type OperationCount, type Place, type ReplayReport, replayText,
  type TableComparison,
} from './replay/report.js';
export type { RunFiles } from './replay/run-directory.js';
export { type CaseBackends, runCase } from './cases/run.js';
export { type Scenario, SCENARIO_SCHEMA, scenarioSchema, type ScenarioInput, type Variant } from './scenario/scenario.js';
export { type SingleStep, type Step, type StepInput, type StepName, type StepOf, STEP_NAMES } from './scenario/steps.js';
