import fc from 'fast-check';
import { hex } from '@granule/geometry/bits';
import type { Access } from './host.js';

/**
 * Something that happens to a VM whose guest is a hypervisor. Guests of that hypervisor, its tables, the places in them and what it puts there go by number;
 * see {@link World}.
 */
export type NestedStep =
  /** A vCPU enters a guest, and leaves the one that it ran. */
  | { readonly step: 'enter'; readonly vcpu: number; readonly guest: number }
  | { readonly step: 'access'; readonly vcpu: number; readonly place: number; readonly access: Access }
  /** The guest hypervisor changes one entry of a table; what its guests may still find is over when it invalidates. */
  | { readonly step: 'change'; readonly table: number; readonly place: number; readonly target: number | undefined }
  | { readonly step: 'tlbi'; readonly kind: 'address' | 'vmid' | 'all'; readonly guest: number; readonly place: number }
  /** The host moves a page of the VM's memory, and takes its mappings out of every shadow first. */
  | { readonly step: 'move'; readonly target: number };

/** Guests that a sequence is about: VMIDs and tables, or a VMID and stage 2 off. */
export interface WorldGuest {
  readonly vmid: number;
  readonly table: number | undefined;
}

/** Two guests of one VMID on two tables, one of another VMID on the second of them, and two without a stage 2. */
export const WORLD_GUESTS: readonly WorldGuest[] = [
  { vmid: 1, table: 0 },
  { vmid: 1, table: 1 },
  { vmid: 2, table: 1 },
  { vmid: 1, table: undefined },
  { vmid: 3, table: undefined },
];

export const VCPUS = 2;
export const TABLES = 2;
/** Two neighbouring pages, and two pages of what may be a block. */
export const PLACES = 4;
export const TARGETS = 4;

/** Often enough by address or VMID: those can reach too little. */
const KINDS = ['address', 'vmid', 'address', 'vmid', 'all'] as const;

const access = fc.record({ type: fc.constantFrom<Access['type']>('read', 'write', 'fetch'), privileged: fc.boolean().map((user) => !user) });
const vcpu = fc.nat(VCPUS - 1);
const guest = fc.nat(WORLD_GUESTS.length - 1);
const place = fc.nat(PLACES - 1);
const target = fc.nat(TARGETS - 1);

/** Any sequence of steps. What makes no sense where it stands (an access of a vCPU that runs no guest) does nothing. */
export function nestedSteps(maxLength: number): fc.Arbitrary<readonly NestedStep[]> {
  const step: fc.Arbitrary<NestedStep> = fc.oneof(
    { weight: 4, arbitrary: fc.record({ step: fc.constant('enter' as const), vcpu, guest }) },
    { weight: 10, arbitrary: fc.record({ step: fc.constant('access' as const), vcpu, place, access }) },
    { weight: 5, arbitrary: fc.record({ step: fc.constant('change' as const), table: fc.nat(TABLES - 1), place, target: fc.option(target, { nil: undefined }) }) },
    { weight: 5, arbitrary: fc.record({ step: fc.constant('tlbi' as const), kind: fc.constantFrom(...KINDS), guest: fc.nat(2), place }) },
    { weight: 1, arbitrary: fc.record({ step: fc.constant('move' as const), target }) },
  );
  return fc.array(step, { maxLength, size: 'max' });
}

const guestText = ({ vmid, table }: WorldGuest): string => (table === undefined ? `VMID ${vmid}, stage 2 off` : `VMID ${vmid} with table ${table}`);

const VERB = { read: 'reads', write: 'writes', fetch: 'executes' } as const;

/** One short sentence for people. */
export function stepText(step: NestedStep, address: (place: number) => number): string {
  switch (step.step) {
    case 'enter':
      return `vCPU ${step.vcpu} enters ${guestText(WORLD_GUESTS[step.guest])}.`;
    case 'access':
      return `vCPU ${step.vcpu} ${VERB[step.access.type]} ${hex(address(step.place), 8)}${step.access.privileged ? '' : ' at EL0'}.`;
    case 'change':
      return `Table ${step.table} ${step.target === undefined ? 'unmaps' : `maps page ${step.target} at`} ${hex(address(step.place), 8)}.`;
    case 'tlbi':
      return step.kind === 'all'
        ? 'The guest hypervisor invalidates everything (ALLE1IS).'
        : `The guest hypervisor invalidates ${step.kind === 'vmid' ? 'all' : hex(address(step.place), 8)} of VMID ${WORLD_GUESTS[step.guest].vmid}.`;
    case 'move':
      return `The host moves page ${step.target}.`;
  }
}
