import { type ByteSource, type Failure, type Outcome, type PhysicalReader, done, refused } from '@granule/contract';
import {
  inflate, isGzip, linesOf, openImage as openMemory, readRegisters, readRunFile, readSlotsFile, readStepsFile, textOf, type RegistersFile, type RunFile,
  type SlotsFile, type StepsFile,
} from '@granule/snapshot';

/** A run directory: its files by name. Undefined: there is no such file. */
export interface RunFiles {
  open(name: string): ByteSource | undefined;
}

const SOURCE = 'granule run directory';

/** A failure with the file that it is about in front. */
function inFile(name: string, failure: Failure): Failure {
  return { ...failure, sentence: `${name}: ${failure.sentence}` };
}

/** A file of the run as `name` or `name.gz`, inflated; undefined where there is neither. */
function contentOf(files: RunFiles, name: string): Outcome<ByteSource | undefined> {
  for (const each of [name, `${name}.gz`]) {
    const source = files.open(each);
    if (source !== undefined) {
      const head = new Uint8Array(2);
      source.read(0, head);
      const content = isGzip(head) ? inflate(source) : done(source);
      return content.kind === 'done' ? content : inFile(each, content);
    }
  }
  return done(undefined);
}

function readText<T>(files: RunFiles, name: string, read: (text: string) => Outcome<T>): Outcome<T | undefined> {
  const content = contentOf(files, name);
  if (content.kind !== 'done' || content.value === undefined) {
    return content as Outcome<undefined>;
  }
  const value = read(textOf(content.value));
  return value.kind === 'done' ? value : inFile(name, value);
}

/** What a run directory says of the machine. Refused: `replay.missing-file`, and what the reader of `run.json` refuses. */
export function readAbout(files: RunFiles): Outcome<RunFile> {
  const about = readText(files, 'run.json', readRunFile);
  if (about.kind === 'done' && about.value === undefined) {
    return refused('replay.missing-file', 'It is not a run directory: there is no run.json.', SOURCE);
  }
  return about as Outcome<RunFile>;
}

/** What userspace did; undefined where the run does not tell. */
export function readSteps(files: RunFiles): Outcome<StepsFile | undefined> {
  return readText(files, 'steps.json', readStepsFile);
}

/** The memory slots of the VM; undefined where the run does not tell. */
export function readSlots(files: RunFiles): Outcome<SlotsFile | undefined> {
  return readText(files, 'slots.json', readSlotsFile);
}

/** Lines of a text of the run; undefined where it has none of that name. */
export function readLines(files: RunFiles, name: string): Outcome<readonly string[] | undefined> {
  return readText(files, name, (text) => done([...linesOf(text)]));
}

/** One trace of a run, inflated. */
export interface TraceFile {
  readonly name: string;
  readonly content: ByteSource;
}

/**
 * The traces that a replay reads, in order: `boot.trace.txt` where there is one, and `end.trace.txt`. Refused: `replay.missing-file`,
 * `replay.trace-incomplete` where `steps.json` says that the ring buffer lost the beginning.
 */
export function openTraces(files: RunFiles): Outcome<readonly TraceFile[]> {
  const steps = readSteps(files);
  if (steps.kind !== 'done') {
    return steps;
  }
  if (steps.value?.traceComplete === false) {
    const why = 'the ring buffer lost its beginning (steps.json: traceComplete is false), and with it the operations that made the tables';
    return refused('replay.trace-incomplete', `The trace cannot be replayed: ${why}.`, SOURCE);
  }
  const traces: TraceFile[] = [];
  for (const name of ['boot.trace.txt', 'end.trace.txt']) {
    const content = contentOf(files, name);
    if (content.kind !== 'done') {
      return content;
    }
    if (content.value !== undefined) {
      traces.push({ name, content: content.value });
    } else if (name === 'end.trace.txt') {
      return refused('replay.missing-file', 'There is no end.trace.txt(.gz): the run has no operations to replay.', SOURCE);
    }
  }
  return done(traces);
}

/** The registers at a checkpoint; undefined where the run has none. */
export function readCheckpointRegisters(files: RunFiles, checkpoint: string): Outcome<RegistersFile | undefined> {
  return readText(files, `${checkpoint}.regs.json`, readRegisters);
}

/** The memory at a checkpoint; undefined where the run has none. */
export function openCheckpointMemory(files: RunFiles, checkpoint: string): Outcome<PhysicalReader | undefined> {
  const name = `${checkpoint}.core`;
  const source = files.open(`${name}.gz`) ?? files.open(name);
  if (source === undefined) {
    return done(undefined);
  }
  const image = openMemory(source);
  return image.kind === 'done' ? done(image.value.memory) : inFile(name, image);
}
