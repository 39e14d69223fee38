import type { Effect, EntryEffect, WriteEffect } from '@granule/contract';
import { hex, toBigint } from '@granule/geometry/bits';

const note = (name: string, effects: readonly EntryEffect[] | undefined): string =>
  effects === undefined || effects.length === 0 ? '' : ` ${name} [${effects.map(effectText).join('; ')}]`;

const option = (name: string, value: number | undefined): string => (value === undefined ? '' : ` ${name} ${value}`);

function writeText(effect: WriteEffect): string {
  const pairs = Array.from(
    { length: effect.count },
    (_, i) => `${hex(toBigint(effect.old[2 * i], effect.old[2 * i + 1]))}->${hex(toBigint(effect.new[2 * i], effect.new[2 * i + 1]))}`,
  );
  const shown = pairs.length <= 4 ? pairs : [...pairs.slice(0, 2), `… ${pairs.length - 3} more …`, pairs[pairs.length - 1]];
  const entries = effect.count === 1 ? String(effect.index) : `${effect.index}..${effect.index + effect.count - 1}`;
  return (
    `write ${hex(effect.table)}[${entries}] level ${effect.level} ia ${hex(effect.address)} ${shown.join(' ')}` +
    `${effect.release ? ' release' : ''}${note('before', effect.before)}${note('after', effect.after)}`
  );
}

/** An effect on one line, for failure messages; long write runs are cut in the middle. */
export function effectText(effect: Effect): string {
  switch (effect.type) {
    case 'write':
      return writeText(effect);
    case 'tlbi':
      return `tlbi ${effect.op}${effect.address === undefined ? '' : ` ${hex(effect.address)}`}${option('level', effect.level)}${option(
        'bytes',
        effect.bytes,
      )}`;
    case 'dsb':
      return `dsb ${effect.domain}`;
    case 'isb':
      return 'isb';
    case 'cmo':
      return `cmo ${effect.op} ${hex(effect.address)} bytes ${effect.bytes} to ${effect.to}`;
    case 'take':
      return `take ${hex(effect.table)} pages ${effect.pages}`;
    case 'free':
      return `free ${hex(effect.table)} pages ${effect.pages}${effect.deferred ? ' deferred' : ''}`;
    case 'register':
      return `register ${effect.name} ${hex(effect.value)}`;
    case 'context-installed':
    case 'context-retired':
      return `${effect.type} ${effect.regime} ${hex(effect.root)}${option('vmid', effect.vmid)}${option('asid', effect.asid)}`;
    case 'access':
      return (
        `access ${effect.access} ${hex(effect.address)}${effect.output === undefined ? '' : `->${hex(effect.output)}`} bytes ${
          effect.bytes
        }` + (effect.value === undefined ? '' : ` value ${hex(effect.value)}`)
      );
    case 'fault': {
      const f = effect.fault;
      return (
        `fault ${f.type} level ${f.level} stage ${f.stage}${f.s1ptw ? ' s1ptw' : ''} ${f.access} ${hex(f.address)}${
          f.upper ? ' upper' : ''
        }` + (f.ipa === undefined ? '' : ` ipa ${hex(f.ipa)}`)
      );
    }
  }
}
