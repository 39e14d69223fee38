import type { EffectSink, Effect, EntryEffect, LookupResult, WriteEffect } from '@granule/contract';
import { ENTRY } from '@granule/contract';
import type { PolicyEvent, Vm } from '@granule/kvm';
import { newLookup } from '@granule/pgtable';
import { protOf, type ProtLayout } from '../replay/prot.js';

/** A call that the policy makes, as a trace would print it: numbers and texts by field name. Kernel addresses of memory stand as physical ones. */
export interface Call {
  readonly event: string;
  readonly fields: Readonly<Record<string, number | bigint | string | boolean>>;
}

/** TLBI_TTL_UNKNOWN (Linux tlbflush.h); older kernels pass 0. */
export const NO_LEVEL = 'none';

/** What the host's own instruction-cache maintenance depends on (Linux __invalidate_icache_guest_page). */
export interface CacheGeometry {
  /** Bytes above which the whole instruction cache is invalidated instead: PTRS_PER_PTE lines. */
  readonly icacheLimit: number;
}

/** Calls that are about one stage 2: they carry its number, 0 the VM's own. */
const ABOUT_ONE_TABLE = /^(?:s2_(?!mmu_)|flush_|unmap_stage2_range$)/u;

/**
 * Collects what the policy does as calls of the functions that a kernel's trace shows: its own events, and from the effects the TLB flushes and the cache
 * maintenance. The address of a TLB flush is that of the walk: the entry's, or the start of the range where that lies inside it.
 */
export class CallRecorder implements EffectSink {
  /** Set once the VM exists. */
  vm: Vm | undefined;
  readonly #out: (call: Call) => void;
  readonly #layout: ProtLayout;
  readonly #caches: CacheGeometry;
  readonly #at: LookupResult = newLookup();
  #operation = '';
  #start = 0;
  /** The stage 2 that the last event is about; effects are of the same one. */
  #mmu = 0;

  constructor(out: (call: Call) => void, layout: ProtLayout, caches: CacheGeometry) {
    this.#out = out;
    this.#layout = layout;
    this.#caches = caches;
  }

  #take({ event, fields }: Call): void {
    this.#out({ event, fields: ABOUT_ONE_TABLE.test(event) ? { ...fields, table: this.#mmu } : fields });
  }

  readonly trace = ({ event, fields, calls = 1, mmu = 0 }: PolicyEvent & { readonly calls?: number }): void => {
    this.#mmu = mmu;
    this.#operation = event;
    // A walk begins at the page; relax_perms flushes the address that it was given.
    const page = this.vm === undefined || event === 's2_relax_perms' ? 1 : 2 ** this.vm.format.geometry.pageShift;
    this.#start = 'addr' in fields ? fields.addr - (fields.addr % page) : 0;
    const plain = 'prot' in fields ? { ...fields, prot: protOf(fields.prot, this.#layout) } : { ...fields };
    this.#take({ event, fields: plain });
    // One event may stand for a call of each page of a range.
    for (let i = 1; i < calls && 'phys' in fields; i++) {
      this.#take({ event, fields: { ...plain, addr: fields.addr + i * fields.size, phys: fields.phys + i * fields.size } });
    }
  };

  effect(effect: Effect): void {
    switch (effect.type) {
      case 'tlbi':
      case 'cmo':
        this.#entry(effect, 0);
        break;
      case 'write':
        this.#write(effect);
        break;
      case 'dsb':
      case 'isb':
      case 'take':
      case 'free':
      case 'register':
      case 'context-installed':
      case 'context-retired':
      case 'access':
      case 'fault':
    }
  }

  #write(write: WriteEffect): void {
    const { count, before = [], after = [], level } = write;
    const span = this.vm === undefined ? 0 : 2 ** (this.vm.format.geometry.pageShift + this.vm.format.geometry.stride * (3 - level));
    for (let i = 0; i < count; i++) {
      this.#leafMaintenance(write, i, span);
      for (const effect of [...before, ...after]) {
        if (!before.includes(effect) || this.#operation !== 's2_map') {
          this.#entry(effect, i * span);
        }
      }
    }
  }

  /** A leaf that is made: the two wrappers, whether or not anything is left to do in them, and what they do. */
  #leafMaintenance({ before = [], level, new: words }: WriteEffect, i: number, span: number): void {
    const format = this.vm?.format;
    const [lo, hi] = [words[2 * i], words[2 * i + 1]];
    if (this.#operation !== 's2_map' || format?.kind(lo, hi, level) !== ENTRY.leaf) {
      return;
    }
    const { memory, px, ux } = format.decodeLeaf(lo, hi, level);
    const phys = format.leafOutput(lo, hi, level);
    if (memory === 'normal') {
      this.#take({ event: 'clean_dcache_guest_page', fields: { phys, size: span } });
      if (before.some((effect) => effect.type === 'cmo' && effect.op === 'dc-civac')) {
        this.#take({ event: 'dcache_clean_inval_poc', fields: { phys, size: span } });
      }
    }
    if (px || ux) {
      this.#instructionCache(phys, span);
    }
  }

  #instructionCache(phys: number, size: number): void {
    this.#take({ event: 'invalidate_icache_guest_page', fields: { phys, size } });
    if (size <= this.#caches.icacheLimit) {
      this.#take({ event: 'icache_inval_pou', fields: { phys, size } });
    }
  }

  #entry(effect: EntryEffect, offset: number): void {
    if (effect.type === 'cmo') {
      const [phys, size] = [effect.address + offset, effect.bytes];
      if (effect.op === 'dc-civac') {
        this.#take({ event: 'clean_dcache_guest_page', fields: { phys, size } });
        this.#take({ event: 'dcache_clean_inval_poc', fields: { phys, size } });
      } else if (effect.op === 'ic-ivau') {
        this.#instructionCache(phys, size);
      }
    } else if (effect.type === 'tlbi') {
      const ipa = Math.max((effect.address ?? 0) + offset, this.#start);
      this.#tlbi(effect.op, ipa, effect.level);
    }
  }

  #tlbi(op: string, ipa: number, level: number | undefined): void {
    if (op === 'IPAS2E1IS') {
      this.#take({ event: 'flush_vmid_ipa', fields: { ipa, level: level ?? NO_LEVEL } });
    } else if (op === 'IPAS2E1') {
      const stage2 = this.#mmu === 0 ? this.vm : this.vm?.nested?.shadows[this.#mmu - 1];
      const found = stage2?.table.lookup(ipa, this.#at) === true && this.#at.kind === ENTRY.leaf;
      this.#take({ event: 'flush_vmid_ipa_nsh', fields: { ipa, level: found ? this.#at.level : NO_LEVEL } });
    } else if (op === 'VMALLS12E1IS') {
      this.#take({ event: 'flush_vmid', fields: {} });
    } else if (op === 'RIPAS2E1IS') {
      this.#take({ event: 'flush_vmid_range', fields: {} });
    }
  }
}
