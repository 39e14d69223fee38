import type { Backend } from '@granule/contract';
import type { Progress } from '../progress.js';
import type { RunFiles } from './run-directory.js';

export interface ReplayOptions {
  readonly files: RunFiles;
  /** Backends by architecture name. */
  readonly backends: Readonly<Record<string, Backend>>;
  /** Stop after this checkpoint. */
  readonly until?: string;
  /**
   * Bytes of table pages that the replay may take, default 128 MiB (64 GiB of memory mapped by 4K pages), and that may be loaded of a
   * kernel table.
   */
  readonly tableBytes?: number;
  /** An event that is torn in the middle of a trace: refused (default), or skipped, counted and told as undetermined. The last line of a trace may be torn. */
  readonly torn?: 'refuse' | 'skip';
  /** Told now and then how many events are done. */
  readonly progress?: Progress;
}

/** Events between two words on progress. */
export const PROGRESS_EVENTS = 1024;
