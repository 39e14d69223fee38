import type { ContextEffect, ContextFormat, EffectSink } from '@granule/contract';
import type { Vm } from '@granule/kvm';

interface Context {
  readonly vmid: number;
  readonly root: number;
  readonly pes: Set<number>;
}

/** What a judge must know of a stage-2 table to read its descriptors. */
export function contextFormat({ format, options: { host, backend } }: Vm): ContextFormat {
  const { granule, iaBits, oaBits, startLevel, ds } = format.geometry;
  const { bbm, tlbirange, ttl, xnx, haf, lpa, s2fwb } = host.features;
  return { backend: backend.name, granule, iaBits, oaBits, startLevel, ds, fwb: s2fwb, features: { bbm, tlbirange, ttl, xnx, haf, lpa } };
}

/** Which stage-2 tables walkers may reach, under which VMIDs: tells when one comes into force and when it goes. */
export class Installed {
  readonly #contexts = new Map<Vm, Context>();

  constructor(private readonly sink: EffectSink) {}

  /** A VM runs on a PE, under the VMID that it has now. */
  enter(vm: Vm, pe: number): void {
    const known = this.#contexts.get(vm);
    if (known?.vmid === vm.vmid) {
      known.pes.add(pe);
      return;
    }
    this.retire(vm);
    const context = { vmid: vm.vmid, root: vm.table.root, pes: new Set([pe]) };
    this.#contexts.set(vm, context);
    this.#tell('context-installed', context, contextFormat(vm));
  }

  /** It runs there no more; its translations stay. */
  leave(vm: Vm, pe: number): void {
    this.#contexts.get(vm)?.pes.delete(pe);
  }

  /** Its table goes out of use for good, or its VMID does. */
  retire(vm: Vm): void {
    const context = this.#contexts.get(vm);
    if (context !== undefined) {
      this.#contexts.delete(vm);
      this.#tell('context-retired', context);
    }
  }

  /** A new generation of VMIDs: whoever does not run has lost its own. */
  rollover(): void {
    for (const [vm, { pes }] of [...this.#contexts]) {
      if (pes.size === 0) {
        this.retire(vm);
      }
    }
  }

  #tell(type: ContextEffect['type'], { root, vmid }: Context, format?: ContextFormat): void {
    this.sink.effect({ type, regime: 's2', root, vmid, ...(format === undefined ? {} : { format }) });
  }
}
