import type { AccessEffect, FaultEffect } from '@granule/contract';
import { changeAt } from './barriers.js';
import type { Context } from './context.js';
import type { Ledger } from './ledger.js';
import { neededBy } from './permissions.js';
import { ruleOf } from './rules.js';

/** Follows accesses and faults: what they show of maintenance that is missing. */
export class Uses {
  constructor(private readonly ledger: Ledger) {}

  access(effect: AccessEffect): void {
    const { mismatch, address, pe = 0 } = effect;
    const { contexts, event } = this.ledger;
    if (mismatch !== undefined) {
      this.ledger.violate(ruleOf(mismatch.rule), mismatch.cause ?? event, event, effect.output ?? address);
    }
    for (const context of contexts) {
      const at = addressOf(context, effect);
      if (at !== undefined) {
        this.used(context, at, pe);
        if (context.owed > 0) {
          this.usedOld(context, at, effect);
        }
      }
    }
  }

  fault(effect: FaultEffect): void {
    const { fault, pe = 0 } = effect;
    const { contexts, event } = this.ledger;
    const conflict = fault.type === 'tlb-conflict';
    for (const context of contexts.filter((each) => each.format.stage === fault.stage)) {
      const at = addressIn(context, effect, fault.address, fault.ipa);
      if (at === undefined) {
        continue;
      }
      if (conflict) {
        this.ledger.violate(ruleOf('tlb.conflict'), this.ledger.causeAt(context, at) ?? event, event, at);
        return;
      }
      this.used(context, at, pe);
    }
    if (conflict) {
      this.ledger.violate(ruleOf('tlb.conflict'), event, event, fault.address);
    }
  }

  /** A PE uses an entry that it has written itself. */
  private used(context: Context, address: number, pe: number): void {
    const { beforeDsb, beforeIsb } = this.ledger.barriers(pe);
    const written = changeAt(beforeDsb, context, address);
    const changed = changeAt(beforeIsb, context, address);
    if (written !== undefined) {
      this.ledger.violate(ruleOf('use.before-dsb'), written.event, this.ledger.event, address);
    } else if (changed !== undefined) {
      this.ledger.violate(ruleOf('use.before-isb'), changed.event, this.ledger.event, address);
    }
  }

  /** An access that went where the old entry led. Before the invalidation is complete that is allowed; after one that missed, it is not. */
  private usedOld(context: Context, address: number, { access, output }: AccessEffect): void {
    const { diagnosis, event } = this.ledger;
    const owed = context.owedAt(address);
    if (owed === undefined || owed.kind === 'table' || output === undefined) {
      return;
    }
    const went = context.format.leafOutput(owed.oldLo, owed.oldHi, owed.level) + (address - owed.start) === output;
    if (!went || (owed.kind === 'permission' && (owed.removed & neededBy(access)) === 0)) {
      return;
    }
    if (diagnosis.of(owed).believed) {
      this.ledger.expose(owed, event);
    } else {
      owed.usedBy ??= event;
    }
  }
}

/** The address by which this table translates the access; undefined: it does not take part. */
export function addressOf(context: Context, effect: AccessEffect): number | undefined {
  return addressIn(context, effect, effect.address, effect.regime === 's2' ? effect.address : effect.ipa);
}

function addressIn(
  context: Context,
  { vmid, asid, regime }: AccessEffect | FaultEffect,
  address: number,
  ipa: number | undefined,
): number | undefined {
  const sameVmid = vmid === undefined || context.vmid === undefined || vmid === context.vmid;
  if (context.format.stage === 2) {
    return sameVmid ? ipa : undefined;
  }
  const sameAsid = asid === undefined || context.asid === undefined || asid === context.asid;
  return sameVmid && sameAsid && (regime === undefined || regime === context.regime) ? address : undefined;
}
