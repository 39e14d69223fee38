import type { InstructionCodec } from '@granule/contract';
import { instructionCodec } from '@granule/contract/codec';
import { OPERATIONS } from './tables.js';

/** 32-bit operands of CP15 TLB, cache and address-translation operations. Address fields take and give whole byte addresses. */
export const instructions: InstructionCodec = instructionCodec({
  operands: new Map([...OPERATIONS].map(([name, { operand }]) => [name, operand])),
  width: 32,
  source: 'DDI 0406C B4.2',
  meaning: (field, value) => (field.name === 'Level' ? `cache level ${value + 1n}` : undefined),
});
