import type { ContextEffect, Format, Outcome } from '@granule/contract';
import { levelIndex } from '@granule/contract';
import { Context } from './context.js';
import type { Invalidations } from './invalidations.js';
import type { Ledger } from './ledger.js';
import { ruleOf } from './rules.js';
import type { TablePages } from './table-pages.js';

/** Follows which tables are in force, and under which tags. */
export class Installations {
  /** Tables that were installed so far. */
  count = 0;

  constructor(
    private readonly ledger: Ledger,
    private readonly invalidations: Invalidations,
    private readonly pages: TablePages,
    private readonly format: (context: ContextEffect) => Outcome<Format>,
  ) {}

  install(effect: ContextEffect): void {
    const { contexts, event, unjudged } = this.ledger;
    const known = contexts.find((each) => names(effect, each) && each.vmid === effect.vmid && each.asid === effect.asid);
    if (known !== undefined) {
      known.installOn(effect.pe);
      return;
    }
    const format = this.format(effect);
    if (format.kind !== 'done') {
      unjudged.push({ event, sentence: format.sentence });
      return;
    }
    const context = new Context(effect, format.value, event);
    this.checkTag(context);
    contexts.push(context);
    this.count++;
    const { geometry } = format.value;
    for (let index = 0; index < geometry.entryTables; index++) {
      const address = index * context.tableEntries * context.span[levelIndex(geometry.startLevel)];
      const at = { context, level: geometry.startLevel, address, parent: undefined, index, linkedAt: event };
      this.pages.link(effect.root + index * context.pageBytes, at, () => undefined);
    }
  }

  private checkTag(context: Context): void {
    const { contexts, event } = this.ledger;
    const { tag, root, format } = context;
    if (tag === undefined) {
      return;
    }
    const other = contexts.find((each) => each.tag === tag && each.root !== root && each.format.upper === format.upper);
    if (other !== undefined) {
      this.ledger.violate(ruleOf('context.two-roots'), other.installedAt, event, root);
    }
    const { tags } = this.invalidations;
    const retired = tags.get(tag);
    if (retired !== undefined) {
      this.ledger.violate(ruleOf(format.stage === 2 ? 'context.vmid-reuse' : 'context.asid-reuse'), retired.cause, event, root);
      tags.delete(tag);
    }
  }

  /** On its last PE: nothing is owed for it any more, but its tag must be invalidated before it is used again. */
  retire(effect: ContextEffect): void {
    const { contexts } = this.ledger;
    const at = contexts.findIndex((each) => names(effect, each));
    if (at < 0) {
      return;
    }
    const context = contexts[at];
    context.installed.delete(effect.pe);
    if (effect.pe !== undefined && context.installed.size > 0) {
      return;
    }
    context.live = false;
    contexts.splice(at, 1);
    this.pages.retire(context);
    if (context.tag !== undefined) {
      this.invalidations.tags.set(context.tag, this.ledger.oweTag(context));
    }
  }
}

/** Tags that the effect leaves out are not compared. */
function names({ regime, root, vmid, asid }: ContextEffect, context: Context): boolean {
  return (
    context.regime === regime &&
    context.root === root &&
    (vmid === undefined || vmid === context.vmid) &&
    (asid === undefined || asid === context.asid)
  );
}
