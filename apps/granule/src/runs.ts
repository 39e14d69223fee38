import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RunFiles } from '@granule/lab';
import { linesOf, type MemorySlot, readRunFile, readSlotsFile, type RunFile } from '@granule/snapshot';
import { CommandFailure, valueOf } from './failures.js';
import { fileSource, plainSource, readText } from './files.js';

/** The run that comes with the command; the folder stands beside `src` and beside the bundle. */
export const BUNDLED_RUN = fileURLToPath(new URL('../data/A-4k-a76', import.meta.url));

/** One with a guest that is a hypervisor itself. */
export const BUNDLED_NESTED_RUN = fileURLToPath(new URL('../data/G-4k-v2', import.meta.url));

export interface RunDirectory {
  readonly path: string;
  readonly about: RunFile;
  readonly slots: readonly MemorySlot[];
  /** `c1`, `c2`, … as far as there are cores, in numeric order. */
  readonly checkpoints: readonly string[];
}

export function openRun(path: string): RunDirectory {
  const about = join(path, 'run.json');
  if (!existsSync(about)) {
    throw new CommandFailure(`${path}: it is not a run directory, there is no run.json.`);
  }
  const slots = join(path, 'slots.json');
  const names = readdirSync(path).flatMap((name) => /^([ck]\d+)\.core\.gz$/.exec(name)?.[1] ?? []);
  return {
    path,
    about: valueOf(readRunFile(readText(about)), about),
    slots: existsSync(slots) ? valueOf(readSlotsFile(readText(slots)), slots).slots : [],
    checkpoints: names.sort((a, b) => Number(a.slice(1)) - Number(b.slice(1))),
  };
}

/** Lines of a text file, inflated where it is gzip; undefined where there is none. */
export function linesOfFile(path: string): readonly string[] | undefined {
  if (!existsSync(path)) {
    return undefined;
  }
  return [...linesOf(plainSource(path))];
}

/** The files of a run directory by name. */
export function runFiles(path: string): RunFiles {
  if (!existsSync(path)) {
    throw new CommandFailure(`${path}: there is no such folder.`);
  }
  return {
    open(name) {
      const file = join(path, name);
      return existsSync(file) ? fileSource(file) : undefined;
    },
  };
}
