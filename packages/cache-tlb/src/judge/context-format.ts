import type { Backend, ContextEffect, Format, Outcome } from '@granule/contract';
import { refused } from '@granule/contract';
import { tableGeometry } from '@granule/geometry';

/**
 * Formats of installed tables from what their events say of them, made by the backends handed in, by name. Refused: `context.no-format`
 * where the event has none, `context.unknown-backend`, and what the backend refuses.
 */
export function contextFormats(backends: Readonly<Record<string, Backend>>): (context: ContextEffect) => Outcome<Format> {
  return ({ regime, root, format }) => {
    if (format === undefined) {
      return refused('context.no-format', `The table at 0x${root.toString(16)} was installed without its format.`, 'granule-events/1');
    }
    const backend = backends[format.backend];
    if (backend === undefined) {
      const known = Object.keys(backends).join(', ');
      return refused('context.unknown-backend', `Backend ${format.backend} is not one of ${known}.`, 'granule-events/1');
    }
    const { granule, iaBits, oaBits, startLevel, ds = false, ...config } = format;
    const geometry = tableGeometry({ stage: regime === 's2' ? 2 : 1, granule, iaBits, oaBits, startLevel, ds });
    return backend.format(regime, { ...config, geometry });
  };
}
