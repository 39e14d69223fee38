import type { Failure, Outcome } from '@granule/contract';

/** Ends a verb with a sentence on stderr. 2: usage or unreadable input; 1: a finding. */
export class CommandFailure extends Error {
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 2) {
    super(message);
    this.exitCode = exitCode;
  }
}

/**
 * What is modelled answers; a request that no machine could mean, or a file that cannot be read, ends the verb. `where`: file or option at
 * fault.
 */
export function valueOf<T>(outcome: Outcome<T>, where?: string, exitCode: 1 | 2 = 2): T {
  if (outcome.kind === 'done') {
    return outcome.value;
  }
  throw new CommandFailure(placed(outcome.sentence, where), exitCode);
}

/** `FILE:LINE: sentence` where the sentence begins with its line. */
function placed(sentence: string, where: string | undefined): string {
  const line = /^Line (\d+): /.exec(sentence);
  return where === undefined ? sentence : line === null ? `${where}: ${sentence}` : `${where}:${line[1]}: ${sentence.slice(line[0].length)}`;
}

/** A configuration that the registers or the model cannot serve is a finding; everything else about input is unreadable input. */
export function exitCodeOf(failure: Failure): 1 | 2 {
  return failure.kind === 'not-modelled' || failure.id.startsWith('registers.') ? 1 : 2;
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'there is no permission',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of its path is not a directory',
  EAGAIN: 'nothing is there to read',
  EIO: 'it cannot be read',
  ENOSPC: 'the disk is full',
  EROFS: 'it may not be written',
};

/** What an error of the file system means, in words. */
export function reasonOf({ code = 'unknown error' }: NodeJS.ErrnoException): string {
  return REASONS[code] ?? code;
}

/** One sentence on stderr, and the exit code. What is no failure of ours is a bug, shown whole. */
export function reportFailure(error: unknown): 1 | 2 {
  if (error instanceof CommandFailure) {
    process.stderr.write(`granule: ${error.message}\n`);
    return error.exitCode;
  }
  process.stderr.write(`granule: internal error\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return 2;
}
