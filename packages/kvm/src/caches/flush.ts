import type { Slot } from '../slots.js';
import type { Vm } from '../vm.js';

/** Cleans and invalidates what is mapped of a slot (stage2_flush_memslot). */
export function flushSlot(vm: Vm, { ipa, size }: Slot): void {
  vm.inChunks(ipa, ipa + size, (addr, bytes) => {
    vm.tell({ event: 's2_flush', fields: { addr, size: bytes } });
    return vm.table.flush(addr, bytes);
  });
}

/** Cleans and invalidates every slot, and the shadows (stage2_flush_vm). */
export function flushVm(vm: Vm): void {
  vm.tell({ event: 'stage2_flush_vm', fields: {} });
  for (const slot of vm.slots.inKernelOrder()) {
    flushSlot(vm, slot);
  }
  if (vm.nested !== undefined) {
    vm.nested.layer.flushAll();
  } else if (vm.kernel.nestedHooks) {
    vm.tell({ event: 'nested_s2_flush', fields: {} });
  }
}
