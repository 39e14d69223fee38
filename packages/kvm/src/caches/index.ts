export type { CacheAnswer, CacheEmulation, SetWayOperation } from './emulation.js';
export { flushSlot, flushVm } from './flush.js';
export { linuxCaches } from './linux.js';
export { PerCpuCaches } from './per-cpu.js';
export { cachesEnabled, trappedOperation, type TrappedOperation, TVM_REGISTERS, TVM_VIEWS } from './trapped.js';
export { DeferredCaches, type DeferredOptions } from './xen.js';
