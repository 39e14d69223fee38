export { elfCore, isElf, readElf, type ElfImage } from './elf.js';
export { EVENTS_SCHEMA_NAME, eventLogWriter, readEventLog, type LogPosition } from './event-log.js';
export { inflate, isGzip, type InflateOptions } from './gzip.js';
export { openImage, type Image, type OpenImageOptions } from './image.js';
export { linesOf, textOf } from './lines.js';
export { PTDUMP_FORMS, type PtdumpBits, type PtdumpForm } from './ptdump-attributes.js';
export {
  kernelLevelName,
  PTDUMP_LAYOUTS,
  ptdumpPrinter,
  type PtdumpLayout,
  type PtdumpMarker,
  type PtdumpPrinter,
  type PtdumpPrinterOptions,
} from './ptdump-printer.js';
export { readPtdump, type PtdumpLine, type PtdumpText, type ReadPtdumpOptions } from './ptdump-reader.js';
export {
  readRegisters,
  REGISTERS_SCHEMA_NAME,
  registersSchema,
  type NamedRegime,
  type NestedState,
  type RegistersFile,
  type ShadowContext,
} from './registers.js';
export {
  readRunFile,
  readSlotsFile,
  readStepsFile,
  type EventPlace,
  type MemorySlot,
  type RunFile,
  type SlotsFile,
  type Step,
  type StepsFile,
} from './run-files.js';
export { decodeTraceEvent, isKnownEvent, tornField, type DecodedEvent, type TraceEventName, type TraceFields } from './trace-events.js';
export { type PrintableEvent, printTrace, traceLine, traceText } from './trace-printer.js';
export { parseTraceLine, readTrace, type SkippedLine, type Trace, type TraceEvent } from './trace.js';
export { readCases, readMachines } from './translation-cases.js';
