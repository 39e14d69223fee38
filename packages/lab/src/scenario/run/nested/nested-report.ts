import { hex } from '@granule/geometry/bits';
import type { Stage2 } from '@granule/kvm';
import { vmidOf } from '@granule/nested';
import type { ChainReport, NestedReport } from '../../../report/report.js';
import { mappingCounts } from '../../../report/vm-report.js';
import type { World } from '../world.js';

/** Contexts at the end, and the chains that steps asked for. */
export function nestedReport({ hypervisor, down }: World, chains: readonly ChainReport[]): { readonly nested?: NestedReport } {
  if (hypervisor === undefined) {
    return {};
  }
  const { layer, shadows } = hypervisor.vm;
  const leavesOf = ({ table }: Stage2): number => mappingCounts(table).reduce((sum, { leaves }) => sum + leaves, 0);
  const contexts = layer.contexts.map(({ index, valid, vttbr, vtcr, stage2, pendingUnmap, references }) => ({
    context: index, valid, vmid: vmidOf(vttbr), table: stage2 ? hex(vttbr % 2n ** 48n) : '', vtcr: hex(vtcr), pendingUnmap, references,
    leaves: down ? 0 : leavesOf(shadows[index]),
  }));
  return { nested: { key: hypervisor.key, contexts, chains } };
}
