import type { HostArea } from './host-memory.js';
import type { Slot } from './slots.js';
import type { Vm } from './vm.js';

/** VMAs of the VMM behind a slot. */
export function areasOf(vm: Vm, { hva, size }: Slot): readonly HostArea[] {
  const { hostMemory } = vm.options;
  if (hostMemory.areasIn !== undefined) {
    return hostMemory.areasIn(hva, hva + size);
  }
  const areas: HostArea[] = [];
  for (let at = hva; at < hva + size; ) {
    const area = hostMemory.areaAt(at);
    areas.push(...(area === undefined ? [] : [area]));
    at = area?.end ?? at + vm.sizes.page;
  }
  return areas;
}
