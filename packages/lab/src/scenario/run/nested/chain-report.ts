import { hex } from '@granule/geometry/bits';
import { type ChainLeaf, recordText, type ShadowChain } from '@granule/nested';
import { sizeText } from '../../../dump/summary.js';
import type { ChainReport } from '../../../report/report.js';

interface Rights {
  readonly read: boolean;
  readonly write: boolean;
  readonly executeEl1: boolean;
  readonly executeEl0: boolean;
}

function rights({ read, write, executeEl1, executeEl0 }: Rights): string {
  const execute = executeEl1 === executeEl0 ? (executeEl1 ? 'X' : '-') : executeEl1 ? 'X at EL1' : 'X at EL0';
  return `${read ? 'R' : '-'}${write ? 'W' : '-'}${execute}`;
}

function leafText(name: string, leaf: ChainLeaf | undefined, address: number | undefined): string {
  if (leaf === undefined || address === undefined) {
    return `${name}: no entry`;
  }
  return `${name}: level ${leaf.level}, ${sizeText(leaf.bytes)} ${rights(leaf)}, to PA ${hex(leaf.output + (address - leaf.start))}`;
}

function guestText({ guest }: ShadowChain): string {
  if (guest === undefined) {
    return 'guest hypervisor: its stage 2 is off';
  }
  const { walk, entries } = guest;
  const last = entries.at(-1);
  const read = last === undefined ? '' : `, descriptor ${hex(last.descriptor)} at IPA ${hex(last.at)}`;
  switch (walk.kind) {
    case 'mapped':
      return `guest hypervisor: level ${walk.level}, ${sizeText(walk.blockBytes)} ${rights(walk)}, to IPA ${hex(walk.output)}${read}`;
    case 'fault':
      return `guest hypervisor: ${walk.sentence}${read}`;
    case 'retry':
      return `guest hypervisor: an entry changed meanwhile${read}`;
  }
}

/** A chain in the words of the report. */
export function chainReport(phase: string, vcpu: number, context: number, chain: ShadowChain): ChainReport {
  const { ipa, vmIpa, host, shadow, standing, why, history } = chain;
  const tables = [guestText(chain), leafText("VM's own stage 2", host, vmIpa), leafText('shadow', shadow, ipa)];
  return { phase, vcpu, context, address: hex(ipa), standing, why, tables, history: history.map(recordText) };
}
