import { scenario, type StepOf } from '../../src/index.js';

const empty = scenario({ name: 'x' });

empty.step('teardown', {});
empty.step('ioremap', { ipa: 0, physical: '1G', size: '8G', policy: 'pages' });
// @ts-expect-error there is no such step
empty.step('iomap', { ipa: 0 });
// @ts-expect-error its size is missing
empty.step('ioremap', { ipa: 0, physical: '1G' });
// @ts-expect-error there is no such policy
empty.step('ioremap', { ipa: 0, physical: '1G', size: '8G', policy: 'fast' });
// @ts-expect-error a step of another name has that field
empty.step('teardown', { slot: 1 });

// @ts-expect-error a scenario has a name
scenario({});
// @ts-expect-error a field that nobody knows
scenario({ name: 'x', vm: { vpcus: 2 } });
// @ts-expect-error a policy that nobody knows
scenario({ name: 'x', vm: { invalidation: 'never' } });
// @ts-expect-error the builder writes schema and steps itself
scenario({ name: 'x', steps: [] });

empty.vcpu(0).write(0x4000_0000, 7).read('1G', { count: 2 });
// @ts-expect-error the vCPU is the builder's
empty.vcpu(0).write(0x4000_0000, 7, { vcpu: 1 });
// @ts-expect-error no such operation by set and way
empty.vcpu(0).setWay('IVAC');

// As it is run addresses are numbers, and values bigints.
export const at = ({ at: address, value }: StepOf<'write'>): readonly [number, bigint | undefined] => [address, value];
// @ts-expect-error a size has no policy
export const policy = ({ size }: StepOf<'ioremap'>): string => size;
