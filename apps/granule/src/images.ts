import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { ByteSource, PhysicalReader } from '@granule/contract';
import { parseAddress } from '@granule/geometry/bits';
import { type Image, openImage } from '@granule/lab';
import { openImage as openMemory, readRegisters, readRunFile } from '@granule/snapshot';
import { BACKENDS } from './backends.js';
import { CommandFailure, exitCodeOf, valueOf } from './failures.js';
import { fileSource, readText } from './files.js';

export interface ImageOptions {
  readonly regs?: string;
  readonly base?: string;
  readonly arch?: string;
}

/** The memory of an image; `base` makes it raw memory. */
function memoryOf(source: ByteSource, path: string, base?: string): PhysicalReader {
  const address = base === undefined ? undefined : parseAddress(base);
  if (base !== undefined && address === undefined) {
    throw new CommandFailure(`--base: ${base} is not an address below 2^52.`);
  }
  return valueOf(openMemory(source, address === undefined ? {} : { base: address }), path).memory;
}

/** Registers beside an image: cN.core.gz has cN.regs.json. */
function registersBeside(path: string): string {
  const name = basename(path).replace(/\.(?:core|elf|bin|raw)(?:\.gz)?$/, '');
  const beside = join(dirname(path), `${name}.regs.json`);
  if (!existsSync(beside)) {
    throw new CommandFailure('--regs: the registers of the image are needed (a granule-registers/1 file).');
  }
  return beside;
}

/** The CPU model of the run that an image belongs to; undefined where it belongs to none. */
function cpuBeside(path: string): string | undefined {
  const about = join(dirname(path), 'run.json');
  const read = existsSync(about) ? readRunFile(readText(about)) : undefined;
  return read?.kind === 'done' ? read.value.cpu : undefined;
}

/** Opens an image file with its registers; what fails ends the verb. */
export function openImageFiles(path: string, options: ImageOptions): Image {
  const source = fileSource(path);
  const regs = options.regs ?? registersBeside(path);
  const memory = memoryOf(source, path, options.base);
  const { registers, regimes, nested } = valueOf(readRegisters(readText(regs)), regs);
  const cpu = cpuBeside(path);
  const told = { ...(options.arch === undefined ? {} : { arch: options.arch }), ...(cpu === undefined ? {} : { cpu }), ...(nested && { nested }) };
  const opened = openImage({ memory, registers, regimes, backends: BACKENDS, ...told });
  return valueOf(opened, options.arch === undefined ? regs : '--arch', opened.kind === 'done' ? 2 : exitCodeOf(opened));
}
