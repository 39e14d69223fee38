import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { build } from 'tsup';

const app = join(import.meta.dirname, '..');
export const RUN = join(app, 'data/A-4k-a76');
export const SCRIPT = join(app, '.reports/granule.js');

/** Bundles the command as it is built, into a folder beside the data, so that tests never see an old bundle. */
export async function bundle(): Promise<void> {
  await build({
    entry: { granule: join(app, 'src/index.ts') },
    outDir: join(app, '.reports'),
    config: join(app, 'tsup.config.ts'),
    silent: true,
  });
}

export interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the bundled command with these words, without colours. */
export function granule(...words: readonly string[]): Result {
  const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, ...words], {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  });
  return { status, stdout, stderr };
}
