import { alignDown, type InputAddress, type OutputAddress } from '../src/bits/index.js';

declare const ia: InputAddress;
declare const oa: OutputAddress;

// A plain number is either; one is not the other.
export const fromNumber: readonly [InputAddress, OutputAddress] = [4096, 4096];
// @ts-expect-error an output address is not an input address
export const crossed: InputAddress = oa;

// Aligning keeps the flavour, and does not keep a literal type.
export const aligned: InputAddress = alignDown(ia, 12);
// @ts-expect-error still an input address
export const alignedCrossed: OutputAddress = alignDown(ia, 12);
export const literal: number = alignDown(4097, 12);
// @ts-expect-error a number, not 4097
export const notLiteral: 4097 = alignDown(4097, 12);
