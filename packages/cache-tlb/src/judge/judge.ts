import type { ContextEffect, Effect, EffectSink, Format, Outcome } from '@granule/contract';
import { Bytes, type JudgedCaches } from './bytes.js';
import { Installations } from './installations.js';
import { Invalidations } from './invalidations.js';
import { Ledger } from './ledger.js';
import { TablePages } from './table-pages.js';
import { Tables } from './tables.js';
import { addressOf, Uses } from './uses.js';
import type { Verdict } from './verdict.js';

export interface JudgeOptions {
  /** What the descriptors of a table mean, asked when it is installed; see `contextFormats` for tables whose event says it. */
  readonly format: (context: ContextEffect) => Outcome<Format>;
  /**
   * What caches need of software (CTR_EL0.IDC and DIC), or `none` for a machine without caches, where no rule about bytes is sought. Left out, nothing is
   * asked of code until a `register` event tells CTR_EL0, which always takes the place of this.
   */
  readonly caches?: JudgedCaches;
}

/**
 * Finds broken maintenance in a stream of effects, live or from a log. Removing or changing a valid entry of an installed table makes an
 * obligation; DSB, TLBI, DSB (and for stage 2 then TLBI, DSB for stage 1 of the VMID) settle it, in this order. It is a violation where
 * something relies on an obligation that is not settled: a new entry, a table page given back or used again, an access by a translation
 * that an invalidation should have removed, or the end of the log. Taking a permission away owes an invalidation too, but nothing relies on
 * it before such an access or the end of the log: write protection may be flushed later, in one. Adding permissions, the access flag, the
 * dirty state and software bits owe nothing, nor do tables that nobody has installed.
 *
 * Memory: tables now in use, the contents of pages not linked yet, and entries for which something is owed.
 */
export class Judge implements EffectSink {
  private readonly ledger = new Ledger();
  private readonly pages = new TablePages();
  private readonly uses = new Uses(this.ledger);
  private readonly bytes: Bytes;
  private readonly invalidations: Invalidations;
  private readonly tables: Tables;
  private readonly installations: Installations;

  constructor({ format, caches = { idc: true, dic: true } }: JudgeOptions) {
    this.bytes = new Bytes(this.ledger, this.pages, caches);
    this.invalidations = new Invalidations(this.ledger, this.bytes);
    this.tables = new Tables(this.ledger, this.pages, this.invalidations);
    this.installations = new Installations(this.ledger, this.invalidations, this.pages, format);
  }

  effect(effect: Effect): void {
    this.ledger.event++;
    switch (effect.type) {
      case 'write':
        this.tables.write(effect);
        break;
      case 'tlbi':
      case 'dsb':
      case 'isb':
      case 'cmo':
        this.invalidations.maintain(effect, effect.pe ?? 0, 0, 0);
        break;
      case 'take':
        this.tables.take(effect.table);
        break;
      case 'free':
        this.tables.free(effect);
        break;
      case 'context-installed':
        this.installations.install(effect);
        break;
      case 'context-retired':
        this.installations.retire(effect);
        break;
      case 'access':
        this.uses.access(effect);
        this.bytes.access(effect, (context) => addressOf(context, effect));
        break;
      case 'fault':
        this.uses.fault(effect);
        break;
      case 'register':
        if (effect.name === 'CTR_EL0') this.bytes.identified(effect.value);
        break;
    }
  }

  /** Events so far. */
  get events(): number {
    return this.ledger.event;
  }

  /** The verdict so far; nothing that is still owed counts. */
  verdict(): Verdict {
    const { event, violations, unjudged } = this.ledger;
    return { events: event, contexts: this.installations.count, violations, unjudged };
  }

  /**
   * The stream ends, and with it the time in which what is owed could be done: for tables that are still installed it is a violation now.
   */
  finish(): Verdict {
    const { contexts, event } = this.ledger;
    for (const context of contexts) {
      for (const each of context.allOwed().filter((owed) => !owed.guardOnly)) {
        this.ledger.expose(each, each.usedBy ?? event);
      }
    }
    return this.verdict();
  }
}

export function createJudge(options: JudgeOptions): Judge {
  return new Judge(options);
}
