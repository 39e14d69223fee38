import type { CmoEffect, Effect } from '@granule/contract';
import { hex } from '@granule/geometry/bits';

function numbered(name: string, value: number | undefined): string {
  return value === undefined ? '' : ` ${name} ${value}`;
}

function at(address: number | undefined): string {
  return address === undefined ? '' : ` ${hex(address)}`;
}

/** What a cache operation is about: bytes, the set and way in its operand, or everything. */
function maintained({ op, address, bytes }: CmoEffect): string {
  if (op === 'dc-isw' || op === 'dc-csw' || op === 'dc-cisw') {
    return ` operand ${hex(address, 1)}`;
  }
  return op === 'ic-iallu' || op === 'ic-ialluis' ? '' : `${at(address)} bytes ${bytes}`;
}

/** One effect on one line, for people. */
export function effectWords(effect: Effect): string {
  const where = 'pe' in effect && effect.pe !== undefined ? `PE ${effect.pe}: ` : '';
  return where + words(effect);
}

function words(effect: Effect): string {
  switch (effect.type) {
    case 'write': {
      const { level, address, count } = effect;
      const word = (halves: Uint32Array): string => `0x${((BigInt(halves[1]) << 32n) | BigInt(halves[0])).toString(16)}`;
      const more = count === 1 ? '' : ` and ${count - 1} more`;
      return `descriptor of ${hex(address)} at level ${level}, ${word(effect.old)} to ${word(effect.new)}${more}`;
    }
    case 'tlbi':
      return `TLBI ${effect.op}${at(effect.address)}${numbered('level', effect.level)}${numbered('bytes', effect.bytes)}${numbered('VMID', effect.vmid)}`;
    case 'dsb':
      return `DSB ${effect.domain.toUpperCase()}`;
    case 'isb':
      return 'ISB';
    case 'cmo':
      return `${effect.op.toUpperCase().replace('-', ' ')}${maintained(effect)}`;
    case 'take':
    case 'free':
      return `table page ${hex(effect.table)} is ${effect.type === 'take' ? 'taken' : 'given back'}`;
    case 'register':
      return `${effect.name} = ${hex(effect.value)}`;
    case 'context-installed':
    case 'context-retired':
      return `table ${hex(effect.root)} is ${effect.type === 'context-installed' ? 'put in force' : 'taken out of use'}${numbered('VMID', effect.vmid)}`;
    case 'access': {
      const { access, address, output, regime } = effect;
      const value = effect.value === undefined ? '' : `, ${hex(effect.value, 1)}`;
      return regime === 'physical' ? `${access} physical ${hex(address)}${value}` : `${access} ${hex(address)}${output === undefined ? '' : ` (physical ${hex(output)})`}${value}`;
    }
    case 'fault': {
      const { type, stage, level, address } = effect.fault;
      return `${type} fault of stage ${stage}, level ${level}, at ${hex(address)}`;
    }
  }
}
