import { done, refused, type Outcome } from '@granule/contract';
import { OPERATIONS, type Cp15Encoding } from './tables.js';

/** How an operation is written: `MCR p15, opc1, Rt, c<crn>, c<crm>, opc2`. Refused: `instruction.unknown`. */
export function cp15Encoding(name: string): Outcome<Cp15Encoding> {
  const operation = OPERATIONS.get(name);
  if (operation === undefined) return refused('instruction.unknown', `Operation ${name} is not known.`, 'DDI 0406C B3.17');
  return done(operation.encoding);
}

/** The operation of an MCR to CP15 c7 or c8 (a trap's HSR.ISS names these numbers), by its Arm name; undefined where there is none. */
export function cp15Operation({ crn, opc1, crm, opc2 }: Record<'crn' | 'opc1' | 'crm' | 'opc2', number>): string | undefined {
  for (const [name, { encoding }] of OPERATIONS) {
    if (encoding.crn === crn && encoding.opc1 === opc1 && encoding.crm === crm && encoding.opc2 === opc2) return name;
  }
  return undefined;
}
