/**
 * The only home of address bit tricks: 64-bit words as two 32-bit halves, exact addresses up to 2^52, alignment, printing and parsing.
 *
 * JavaScript's bitwise operators keep 32 bits of a number: `(2 ** 40 + 0x123000) >> 12` is 291. Everything here splits an address into
 * halves before it touches a bit. The domains are stated and not checked, because these functions sit in hot loops: outside of them the
 * answer is meaningless. {@link checkAddress} is the guard for the edge.
 */
export type { Address, InputAddress, OutputAddress, SameAddress } from './address.js';
export { alignDown, alignUp, checkAddress, fieldOf, isAligned, MAX_ADDRESS, pow2, shiftDown } from './address.js';
export type { BitRange, Slot } from './fields.js';
export { fieldWidth, placeField, putSlot, slotAt, slotMask, takeField, takeSlot } from './fields.js';
export { fromHalves, high32, low32, bigintHigh, bigintLow, toBigint } from './halves.js';
export { formatSize, hex, parseAddress, parseSize, parseWord } from './text.js';
