import type { Outcome } from '@granule/contract';
import { done, refused } from '@granule/contract';
import type { OutputAddress } from '@granule/geometry/bits';
import { hex } from '@granule/geometry/bits';
import type { Image } from '../image/image.js';
import type { RegimeTables } from '../image/regime-tables.js';
import { decideAccess, type DecidedAccess, type WalkAccess } from './access.js';
import type { AddressWalk, DescriptorUpdate, StageWalk } from './address-walk.js';
import { combined } from './combined.js';
import { reached, stagesOf, withPast } from './stages.js';
import { offsetOf, type Run, translateThrough } from './translation.js';

/**
 * Walks one address as hardware does for one access and tells why it ends where it ends. A leaf whose access flag is clear is a fault where hardware
 * does not manage the flag; the walk still goes on, and `past` has where it leads. Tables at IPAs of stage-2 tables (a guest hypervisor's stage 2, which no
 * hardware walks) are walked one after the other.
 *
 * Refused: `walk.no-such-level`, `walk.address-beyond-input` for an IPA of more than 52 bits, and what {@link Image.tables} refuses. Not modelled: as the
 * backend's `controls`.
 */
export function walkAddress(image: Image, regime: string, address: bigint, access: WalkAccess = {}): Outcome<AddressWalk> {
  const tables = image.tables(regime);
  if (tables.kind !== 'done') {
    return tables;
  }
  const { format } = tables.value[0];
  if (format.stage === 2 && address >= 2n ** 52n) {
    return refused('walk.address-beyond-input', `The IPA ${hex(address)} has more than 52 bits.`, 'DDI 0487 D8.2');
  }
  const decided = decideAccess(format.regime, access);
  if (decided.kind !== 'done') {
    return decided;
  }
  const walked = walkRanges(image, tables.value, address, decided.value);
  return walked.kind === 'done' ? done({ regime, address, access: decided.value, ...walked.value }) : walked;
}

type Walked = Omit<AddressWalk, 'regime' | 'address' | 'access'>;

function walkRanges(image: Image, ranges: readonly RegimeTables[], address: bigint, access: DecidedAccess): Outcome<Walked> {
  const inside = ranges.filter((each) => offsetOf(each, address) !== undefined);
  const ran = translateThrough(image, inside.length === 0 ? ranges : inside, address, access);
  if (ran.kind !== 'done') {
    return ran;
  }
  const run = ran.value;
  const { stages, end } = stagesOf(run, address, (tables, ipa) => walkSpace(image, tables, ipa));
  const here: Walked = { stages, end, updates: updatesOf(run), ...combined(run) };
  const next = tablesBehind(run);
  const output = reached(end)?.output;
  return next === undefined || output === undefined ? done(here) : behind(image, here, next, output, access);
}

/** The stage-2 tables whose IPAs a run's output are: software's, for hardware has but two stages. */
function tablesBehind({ tables: [first] }: Run): RegimeTables | undefined {
  return first.format.stage === 2 ? first.through : first.through?.through;
}

function behind(image: Image, here: Walked, tables: RegimeTables, ipa: OutputAddress, access: DecidedAccess): Outcome<Walked> {
  const next = walkRanges(image, [tables], BigInt(ipa), { ...access, el: access.el === 2 ? 1 : access.el });
  if (next.kind !== 'done') {
    return next;
  }
  const { stages, end, updates } = next.value;
  return done({
    stages: [...here.stages, ...stages],
    end: here.end.kind === 'fault' ? withPast(here.end, reached(end)) : end,
    updates: [...here.updates, ...updates],
  });
}

/** How stage 2 translates where a table is, for a read by software; its tables are known to be there, for the image was opened through them. */
function walkSpace(image: Image, tables: RegimeTables, ipa: OutputAddress): StageWalk | undefined {
  const walked = walkRanges(image, [tables], BigInt(ipa), { type: 'read', el: 1 });
  return walked.kind === 'done' ? walked.value.stages[0] : undefined;
}

function updatesOf({ out: { updates } }: Run): readonly DescriptorUpdate[] {
  return Array.from({ length: updates.count }, (_, i) => ({
    stage: updates.stage[i] as 1 | 2,
    level: updates.level[i],
    address: updates.address[i],
    from: (BigInt(updates.oldHi[i]) << 32n) + BigInt(updates.oldLo[i]),
    to: (BigInt(updates.newHi[i]) << 32n) + BigInt(updates.newLo[i]),
  }));
}
