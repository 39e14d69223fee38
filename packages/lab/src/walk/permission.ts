import { type ExplainedField, type FaultValue, type TableAttributes } from '@granule/contract';
import type { Fetch } from '@granule/mmu';
import { levelPrefix } from './access.js';
import { fieldOf } from './cause.js';
import { type Run, tablesOfStage } from './translation.js';

/** What decided, in one sentence without its end. */
export interface Blame {
  readonly fetch?: Fetch;
  readonly field?: ExplainedField;
  readonly registers?: string;
  readonly clause: string;
  readonly why: string;
}

/** The descriptor and field that take a right away: the leaf's, or those of a table above it. */
export function blamePermission(run: Run, fault: FaultValue, fetches: readonly Fetch[]): Blame {
  if (fault.stage === 2) {
    return fault.s1ptw ? tableAccess(run, fetches) : stage2Access(run, fetches);
  }
  return run.access.type === 'fetch' ? stage1Fetch(run, fetches) : stage1Data(run, fetches);
}

/** Stage 2 of a stage-1 descriptor: it may not be read, or hardware may not write the access flag or dirty state into it (DDI 0487 D8.5, HCR_EL2.PTW). */
function tableAccess(run: Run, fetches: readonly Fetch[]): Blame {
  const { format } = tablesOfStage(run.tables, 2);
  const fetch = fetches.at(-1)!;
  const { read, memory } = format.decodeLeaf(fetch.lo, fetch.hi, fetch.level);
  if (!read) {
    return { ...fieldOf(format, fetch, 'S2AP', 'HAP'), why: 'the table walk may not read its table' };
  }
  if (memory.startsWith('device') && run.controls.stage2?.protectedWalk === true) {
    return { ...fieldOf(format, fetch, 'MemAttr'), why: 'the stage-1 table is in Device memory, and HCR_EL2.PTW is 1' };
  }
  return { ...fieldOf(format, fetch, 'S2AP', 'HAP'), why: 'hardware may not write to the stage-1 table' };
}

function stage2Access({ tables, access, controls }: Run, fetches: readonly Fetch[]): Blame {
  const { format } = tablesOfStage(tables, 2);
  const fetch = fetches.at(-1)!;
  const { read } = format.decodeLeaf(fetch.lo, fetch.hi, fetch.level);
  const unreadable = controls.stage2?.executeNeedsRead === true && !read;
  if (access.type !== 'fetch' || unreadable) {
    return { ...fieldOf(format, fetch, 'S2AP', 'HAP'), why: `stage 2 permits no ${unreadable ? 'read' : access.type}` };
  }
  return { ...fieldOf(format, fetch, 'XN'), why: `stage 2 permits no execution at EL${access.el}` };
}

/** The first table descriptor of a walk, its leaf left out, that says so. */
function tableThat(run: Run, fetches: readonly Fetch[], says: (table: TableAttributes) => boolean): Fetch | undefined {
  const { format } = run.tables[0];
  return fetches.slice(0, -1).find(({ lo, hi }) => says(format.decodeTable(lo, hi)));
}

/** AP and APTable (DDI 0487 D8.4.1). */
function stage1Data(run: Run, fetches: readonly Fetch[]): Blame {
  const { format } = run.tables[0];
  const { el, type } = run.access;
  const fetch = fetches.at(-1)!;
  const at = `${levelPrefix(format.regime)}${el}`;
  const { write, user } = format.decodeLeaf(fetch.lo, fetch.hi, fetch.level);
  if (type === 'write' && !write) {
    return { ...fieldOf(format, fetch, 'AP[2]'), why: `no write at ${at}: the leaf is read-only` };
  }
  if (el === 0 && !user) {
    return { ...fieldOf(format, fetch, 'AP[1]'), why: `no ${type} at ${at}: the leaf is not for ${at}` };
  }
  const table = tableThat(run, fetches, ({ apTable }) => (type === 'write' && (apTable & 2) !== 0) || (el === 0 && (apTable & 1) !== 0));
  const why = `no ${type} at ${at}: the table of level ${table?.level ?? fetch.level} takes it away`;
  return { ...fieldOf(format, table ?? fetch, 'APTable', 'APTable[1]', 'AP[1]'), why };
}

/** UXN, PXN, XN, their table bits, WXN, and that EL1 does not execute what EL0 may write (DDI 0487 D8.4.1; DDI 0406C B3.7.2). */
function stage1Fetch(run: Run, fetches: readonly Fetch[]): Blame {
  const { format } = run.tables[0];
  const [{ unprivileged, wxn }] = run.controls.stage1;
  const { el } = run.access;
  const fetch = fetches.at(-1)!;
  const at = `${levelPrefix(format.regime)}${el}`;
  const low = el === 0 || !unprivileged;
  const { px, ux, user, write } = format.decodeLeaf(fetch.lo, fetch.hi, fetch.level);
  if (!(low && unprivileged ? ux : px)) {
    return { ...fieldOf(format, fetch, low ? 'UXN' : 'PXN', 'XN'), why: `no execution at ${at}: the leaf says so` };
  }
  const table = tableThat(run, fetches, ({ uxnTable, pxnTable }) => (low ? uxnTable : pxnTable));
  if (table !== undefined) {
    const names = low ? ['UXNTable', 'XNTable'] : ['PXNTable', 'XNTable'];
    return { ...fieldOf(format, table, ...names), why: `no execution at ${at}: the table of level ${table.level} takes it away` };
  }
  if (wxn && write) {
    return { ...fieldOf(format, fetch, 'AP[2]'), why: `no execution at ${at}: it may be written, and SCTLR.WXN is 1` };
  }
  const why = el !== 0 && user ? `${levelPrefix(format.regime)}0 may write here` : `the leaf is not for ${at}`;
  return { ...fieldOf(format, fetch, 'AP[1]'), why: `no execution at ${at}: ${why}` };
}
