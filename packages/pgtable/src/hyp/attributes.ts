import type { AttributeRequest, Failure, Format } from '@granule/contract';
import { refused } from '@granule/contract';
import type { Table } from '../table.js';
import type { LeafPatterns } from '../map.js';
import { leafPatterns } from '../map.js';

const SOURCE = 'Linux hyp_set_prot_attr: -EINVAL';

/**
 * The leaf bits of a hyp mapping. The access flag is always set, whatever the request says. Refused: `hyp.not-stage-1`, `hyp.not-readable`,
 * `hyp.write-execute`, `hyp.execute-device`, and what the format refuses.
 */
export function hypPatterns(t: Table, request: AttributeRequest): LeafPatterns | Failure {
  return problem(t.format, request) ?? leafPatterns(t, { ...request, af: true });
}

function problem(format: Format, request: AttributeRequest): Failure | undefined {
  if (format.stage !== 1) {
    return refused(
      'hyp.not-stage-1',
      `The regime ${format.regime} is of stage 2; hyp tables are stage-1 tables.`,
      'Linux kvm_pgtable_hyp_init',
    );
  }
  const { read, write, px, ux } = { ...format.defaults, ...request };
  if (!read) {
    return refused('hyp.not-readable', 'Attribute read is false; a hyp mapping is always readable.', SOURCE);
  }
  const execute = px || ux;
  if (execute && write) {
    return refused(
      'hyp.write-execute',
      'Attributes write and px or ux are true; a hyp mapping is writable or executable, not both.',
      SOURCE,
    );
  }
  const bits = format.encodeLeaf(request, 3);
  if (bits.kind !== 'done') {
    return bits;
  }
  const { memory } = format.decodeLeaf(bits.value.lo, bits.value.hi, 3);
  return execute && memory.startsWith('device')
    ? refused(
        'hyp.execute-device',
        `Attributes px or ux are true with memory ${memory}; device memory is never executable in a hyp mapping.`,
        SOURCE,
      )
    : undefined;
}
