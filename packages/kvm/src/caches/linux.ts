import type { CacheEmulation } from './emulation.js';
import { flushVm } from './flush.js';

/**
 * Today's: the first set/way operation flushes the VM and makes VM-register writes trap; while they do, further set/way operations wait for the caches
 * to be toggled. Any trapped write that leaves the caches on ends the trapping, whether or not it changed them. With FEAT_S2FWB set/way operations are ignored.
 * Sources: Linux kvm_set_way_flush, kvm_toggle_cache.
 */
export const linuxCaches: CacheEmulation = {
  name: 'linux',
  setWay(vm, vcpu, pc) {
    if (vm.host.features.s2fwb) {
      return 'done';
    }
    vm.tell({ event: 'set_way_flush', fields: {} });
    if (!vcpu.tvm) {
      vm.tell({ event: 'kvm_set_way_flush', fields: { pc, cache: vcpu.cachesOn } });
      flushVm(vm);
      vcpu.tvm = true;
    }
    return 'done';
  },
  vmRegister(vm, vcpu, pc, now) {
    if (!vcpu.tvm) {
      vcpu.cachesOn = now;
      return;
    }
    const was = vcpu.cachesOn;
    vm.tell({ event: 'toggle_cache', fields: { was } });
    if (now !== was) {
      flushVm(vm);
    }
    vcpu.cachesOn = now;
    vcpu.tvm = !now;
    vm.tell({ event: 'kvm_toggle_cache', fields: { pc, was, now } });
  },
};
