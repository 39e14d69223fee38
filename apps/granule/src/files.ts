import { closeSync, fstatSync, openSync, readSync, writeFileSync } from 'node:fs';
import type { ByteSource } from '@granule/contract';
import { formatSize } from '@granule/geometry/bits';
import { inflate, isGzip } from '@granule/snapshot';
import { CommandFailure, reasonOf, valueOf } from './failures.js';

/** Standard input by the name that tools give it. */
const STDIN = '-';

/** Bytes of a pipe that are kept, and of a text: beyond it is no input that anyone means. */
const PIPE_LIMIT = 2 ** 30;
const TEXT_LIMIT = 2 ** 28;

/**
 * Files as byte sources, read where asked for; a sparse file of 100 GB costs nothing. The handle stays open for the life of the process. A
 * pipe, or standard input by the name `-`, is read to its end first.
 */
export function fileSource(path: string): ByteSource {
  const fd = path === STDIN ? 0 : attempt(path, () => openSync(path, 'r'));
  const stat = attempt(path, () => fstatSync(fd));
  if (stat.isFile()) {
    return { size: stat.size, read: (offset, into) => fill(path, fd, into, offset) };
  }
  if (stat.isDirectory()) {
    closeSync(fd);
    throw new CommandFailure(`${path}: it is a directory.`);
  }
  return pipeSource(path, fd);
}

/** Reads until the room is full or the file ends; `offset` undefined: from where the pipe stands. */
function fill(path: string, fd: number, into: Uint8Array, offset?: number): number {
  let at = 0;
  while (at < into.length) {
    const got = attempt(path, () => readSync(fd, into, at, into.length - at, offset === undefined ? null : offset + at));
    if (got === 0) {
      break;
    }
    at += got;
  }
  return at;
}

function pipeSource(path: string, fd: number): ByteSource {
  let bytes = new Uint8Array(2 ** 16);
  let size = fill(path, fd, bytes);
  while (size === bytes.length) {
    if (size >= PIPE_LIMIT) {
      throw new CommandFailure(`${path}: there is more than ${formatSize(PIPE_LIMIT)} to read.`);
    }
    const larger = new Uint8Array(2 * size);
    larger.set(bytes);
    bytes = larger;
    size += fill(path, fd, bytes.subarray(size));
  }
  return {
    size,
    read(offset, into) {
      const part = bytes.subarray(Math.min(offset, size), Math.min(offset + into.length, size));
      into.set(part);
      return part.length;
    },
  };
}

/** The content of a file, inflated where it is gzip. */
export function plainSource(path: string): ByteSource {
  const source = fileSource(path);
  const head = new Uint8Array(2);
  source.read(0, head);
  return isGzip(head) ? valueOf(inflate(source), path) : source;
}

/** The text of a file, inflated where it is gzip. */
export function readText(path: string): string {
  const source = plainSource(path);
  if (source.size > TEXT_LIMIT) {
    throw new CommandFailure(`${path}: it is longer than the ${formatSize(TEXT_LIMIT)} that a text may have.`);
  }
  const bytes = new Uint8Array(source.size);
  return new TextDecoder().decode(bytes.subarray(0, source.read(0, bytes)));
}

export function writeBytes(path: string, pieces: Iterable<Uint8Array>): void {
  const fd = attempt(path, () => openSync(path, 'w'));
  for (const piece of pieces) {
    attempt(path, () => writeFileSync(fd, piece));
  }
  closeSync(fd);
}

export function writeText(path: string, text: string): void {
  attempt(path, () => writeFileSync(path, text));
}

/** A file of lines, written in large pieces. */
export class LineFile {
  readonly #fd: number;
  #lines: string[] = [];

  constructor(private readonly path: string) {
    this.#fd = attempt(path, () => openSync(path, 'w'));
  }

  add(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length >= 4096) {
      this.#flush();
    }
  }

  close(): void {
    this.#flush();
    closeSync(this.#fd);
  }

  #flush(): void {
    if (this.#lines.length > 0) {
      const text = `${this.#lines.join('\n')}\n`;
      this.#lines = [];
      attempt(this.path, () => writeFileSync(this.#fd, text));
    }
  }
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new CommandFailure(`${path}: ${reasonOf(error as NodeJS.ErrnoException)}.`);
  }
}
