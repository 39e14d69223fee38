import { closeSync, fstatSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import type { ByteSource } from '@granule/contract';
import { CommandFailure } from './failures.js';

/**
 * Files as byte sources, read where asked for; a sparse file of 100 GB costs nothing. The handle stays open for the life of the process.
 */
export function fileSource(path: string): ByteSource {
  const fd = attempt(path, () => openSync(path, 'r'));
  const stat = fstatSync(fd);
  if (!stat.isFile()) {
    closeSync(fd);
    throw new CommandFailure(`${path}: it is not a file.`);
  }
  return {
    size: stat.size,
    read(offset, into) {
      let at = 0;
      while (at < into.length) {
        const got = attempt(path, () => readSync(fd, into, at, into.length - at, offset + at));
        if (got === 0) {
          break;
        }
        at += got;
      }
      return at;
    },
  };
}

export function readText(path: string): string {
  return attempt(path, () => readFileSync(path, 'utf8'));
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

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'there is no permission',
  EISDIR: 'it is a directory',
  ENOSPC: 'the disk is full',
  EROFS: 'it may not be written',
};

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    throw new CommandFailure(`${path}: ${REASONS[code] ?? code}.`);
  }
}
