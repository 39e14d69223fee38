import type { ContextFormat, Effect, EffectSink, EntryEffect, TlbiEffect } from '@granule/contract';
import type { OutputAddress } from '@granule/geometry/bits';
import type { VmidHolder } from './vmid.js';

/** Invalidations that act on every VMID. */
const OF_EVERY_VMID: ReadonlySet<string> = new Set(['ALLE1', 'ALLE1IS', 'TLBIALLNSNH', 'TLBIALLNSNHIS']);

/**
 * A VMID and the stage 2 that it stands for. Tells when walkers may begin to use the table under it, and when they can no more: its generation is over, or
 * the table goes. Whatever entries are left under it then go with the rollover that gives it to someone else.
 */
export class VmTag implements VmidHolder {
  vmid = 0;
  generation = 0;
  #installed = 0;

  constructor(
    private readonly root: OutputAddress,
    private readonly format: ContextFormat,
    private readonly sink: EffectSink | undefined,
  ) {}

  /** A PE enters the guest with it. */
  entered(): void {
    if (this.#installed !== this.vmid) {
      this.expired();
      this.#installed = this.vmid;
      this.sink?.effect({ type: 'context-installed', regime: 's2', root: this.root, vmid: this.vmid, format: this.format });
    }
  }

  expired(): void {
    if (this.#installed !== 0) {
      this.sink?.effect({ type: 'context-retired', regime: 's2', root: this.root, vmid: this.#installed });
      this.#installed = 0;
    }
  }
}

/**
 * Names the VMID on every invalidation that acts on one: as Linux does it, which switches VTTBR to the VM around them. A stage 2 under two VMIDs has each
 * invalidation twice.
 */
export class TaggingSink implements EffectSink {
  tags: readonly VmidHolder[] = [];

  constructor(private readonly sink: EffectSink) {}

  effect(effect: Effect): void {
    switch (effect.type) {
      case 'tlbi':
        this.#tagged(effect).forEach((each) => this.sink.effect(each));
        return;
      case 'write': {
        const { before, after } = effect;
        const tag = (list: readonly EntryEffect[]): readonly EntryEffect[] => list.flatMap((each): readonly EntryEffect[] => (each.type === 'tlbi' ? this.#tagged(each) : [each]));
        const tagged = before !== undefined || after !== undefined;
        this.sink.effect(tagged ? { ...effect, ...(before && { before: tag(before) }), ...(after && { after: tag(after) }) } : effect);
        return;
      }
      case 'dsb':
      case 'isb':
      case 'cmo':
      case 'take':
      case 'free':
      case 'register':
      case 'context-installed':
      case 'context-retired':
      case 'access':
      case 'fault':
        this.sink.effect(effect);
    }
  }

  #tagged(effect: TlbiEffect): readonly TlbiEffect[] {
    const tags = OF_EVERY_VMID.has(effect.op) || effect.vmid !== undefined ? [] : this.tags.filter(({ vmid }) => vmid !== 0);
    return tags.length === 0 ? [effect] : tags.map(({ vmid }) => ({ ...effect, vmid }));
  }
}
