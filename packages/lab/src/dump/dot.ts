import { hex } from '@granule/geometry/bits';
import type { OutputAddress } from '@granule/geometry/bits';
import { type AddressPrinter, addressPrinter, type RegimeTables } from '../image/regime-tables.js';
import type { Mapping, TableEdge } from './mappings.js';
import { counted, leafNoun, titleLine } from './summary.js';
import type { DumpWriter, Write } from './writer.js';

/** Text inside a DOT string. */
const quote = (text: string): string => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;

/** Leaf mappings listed in a node; the rest is counted. */
const MAX_ROWS = 8;

interface Node {
  readonly rows: string[];
  leaves: number;
  more: number;
}

/**
 * Graphviz: one node a table with its first mappings, one edge a table entry. Made at the end of a table, since a node is known only then.
 */
export function dotWriter(write: Write): DumpWriter {
  let nodes = new Map<string, Node>();
  let print: AddressPrinter = hex;
  let path: string[] = [];
  let cluster = 0;
  const name = (table: OutputAddress, level: number): string => `t${cluster}_${level}_${table.toString(16)}`;
  const nodeOf = (id: string): Node => {
    const node = nodes.get(id) ?? { rows: [], leaves: 0, more: 0 };
    nodes.set(id, node);
    return node;
  };
  return {
    begin: () => write('digraph tables {\n  rankdir=LR;\n  node [shape=box, fontname=monospace, fontsize=9, style=rounded];\n'),
    beginTable(tables: RegimeTables) {
      print = addressPrinter(tables);
      nodes = new Map();
      const { startLevel } = tables.format.geometry;
      path = [];
      path[startLevel + 1] = name(tables.root, startLevel);
      nodeOf(path[startLevel + 1]);
      write(`  subgraph cluster_${cluster} {\n    label=${quote(titleLine(tables))};\n`);
    },
    edge(edge: TableEdge) {
      const to = name(edge.to, edge.level);
      write(`    ${quote(path[edge.level])} -> ${quote(to)} [label="${edge.index}"${edge.again ? ', style=dashed' : ''}];\n`);
      path[edge.level + 1] = to;
      nodeOf(to);
    },
    mapping(mapping: Mapping) {
      const node = nodeOf(path[mapping.level + 1]);
      node.leaves += mapping.leaves;
      if (node.rows.length < MAX_ROWS) {
        const count = counted(mapping.leaves, leafNoun(mapping.level));
        node.rows.push(`${print(mapping.start)} -> ${hex(mapping.output)}  ${count}  ${mapping.leaf.permissions} ${mapping.leaf.type}`);
      } else {
        node.more++;
      }
    },
    endTable() {
      for (const [id, node] of nodes) {
        const [, level, table] = id.split('_');
        const rows = node.more === 0 ? node.rows : [...node.rows, `and ${node.more} more`];
        write(`    ${quote(id)} [label=${quote([`level ${level} table 0x${table}`, ...rows].join('\n')).replaceAll('\\n', '\\l')}];\n`);
      }
      write('  }\n');
      cluster++;
    },
    end: () => write('}\n'),
  };
}
