import { hex } from '@granule/geometry/bits';
import type { ShadowWalk, StageWalk } from '@granule/lab';
import { colour } from './output.js';
import { stageJson, stageLines, wrapped } from './walk-text.js';

const STATES: Readonly<Record<ShadowWalk['state'], string>> = {
  'mapped': 'is in the shadow',
  'not-yet': 'is not in the shadow yet',
  'forwarded': "is not in the shadow: the fault is the guest hypervisor's",
  'stale': 'is in the shadow as it was before',
  'unknown': 'cannot be judged',
};

/** Where the shadow leads; undefined: it has no entry. */
function physicalOf({ end }: StageWalk): number | undefined {
  return end.kind === 'translated' ? end.output : end.kind === 'fault' ? end.past?.output : undefined;
}

/** The chain as people read it: the guest hypervisor's stage 2, the VM's own, the shadow of both, and why it is as it is. */
export function shadowLines(walk: ShadowWalk, allFields: boolean): readonly string[] {
  const { context, guest, host, shadow } = walk;
  const { virtVTTBR, virtVTCR, virtHCR, seenAt } = context;
  const off = (virtHCR & 1n) === 0n;
  const title = `nested guest with VTTBR_EL2 ${hex(virtVTTBR, 1)}, VTCR_EL2 ${hex(virtVTCR, 1)}${off ? ', its stage 2 off (HCR_EL2.VM = 0)' : ''}, seen at ${seenAt}`;
  const section = (name: string, stage: StageWalk | undefined): readonly string[] => (stage === undefined ? [] : [colour.bold(name), ...stageLines(stage, false, allFields)]);
  return [
    title,
    ...section("the guest hypervisor's tables", guest),
    ...section("the VM's own stage 2", host),
    ...section('the shadow', shadow),
    ...chainLines(walk),
  ];
}

/** The addresses from the nested guest's to the physical one, what the shadow has of them, and why. */
export function chainLines({ address, ipa, shadow, state, sentences }: ShadowWalk): readonly string[] {
  const physical = physicalOf(shadow);
  const chain = [`IPA ${hex(address)}`, ...(ipa === undefined ? [] : [`VM's IPA ${hex(ipa)}`]), ...(physical === undefined ? [] : [`PA ${hex(physical)}`])];
  return [
    `${chain.join(' -> ')} ${state === 'mapped' ? STATES[state] : colour.red(STATES[state])}`,
    ...sentences.flatMap((sentence) => wrapped(sentence, '  ').map((line) => `  ${line}`)),
  ];
}

/** `granule-shadow-walk/1`. */
export function shadowJson({ regime, address, context, guest, kvm, ipa, host, shadow, state, sentences }: ShadowWalk): unknown {
  const { virtVTTBR, virtVTCR, virtHCR, hwVTTBR, hwVTCR, seenAt } = context;
  const physical = physicalOf(shadow);
  return {
    schema: 'granule-shadow-walk/1',
    regime,
    address: hex(address),
    context: { virtVTTBR: hex(virtVTTBR), virtVTCR: hex(virtVTCR), virtHCR: hex(virtHCR), hwVTTBR: hex(hwVTTBR), hwVTCR: hex(hwVTCR), seenAt },
    ...(kvm?.kind === 'mapped' && {
      limits: {
        ipa: hex(kvm.output), level: kvm.level, bytes: kvm.blockBytes, read: kvm.read, write: kvm.write, executeEl1: kvm.executeEl1, executeEl0: kvm.executeEl0,
      },
    }),
    ...(kvm?.kind === 'fault' && { forwarded: { statusCode: hex(kvm.statusCode, 2), level: kvm.level } }),
    ...(guest && { guest: stageJson(guest) }),
    ...(ipa === undefined ? {} : { ipa: hex(ipa) }),
    ...(host && { host: stageJson(host) }),
    shadow: stageJson(shadow),
    ...(physical === undefined ? {} : { physical: hex(physical) }),
    state,
    sentences,
  };
}
