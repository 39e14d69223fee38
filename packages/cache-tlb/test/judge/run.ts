import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { fake, type Command } from '@granule/conformance';
import type { Coherence, ContextFormat, Effect, EffectSink, Format, Mode } from '@granule/contract';
import type { Granule, Level } from '@granule/geometry';
import { createTableArena } from '@granule/memory';
import { createPageTable, type GranulePageTable } from '@granule/pgtable';
import { contextFormats, createJudge, type Judge, type Verdict } from '../../src/index.js';

export const formats = contextFormats({ armv8, 'armv7-lpae': armv7Lpae, fake });
export const newJudge = (): Judge => createJudge({ format: formats, caches: { idc: false, dic: false } });

const MAIR = 0xff44_0c04_00ffn;

/** A configuration of a table under test. */
export interface Setup {
  readonly name: string;
  readonly regime: string;
  readonly format: ContextFormat;
}

const FEATURES = { bbm: 0, ttl: true, tlbirange: true } as const;

function setup(regime: string, granule: Granule, iaBits: number, startLevel: Level, more: Partial<ContextFormat> = {}): Setup {
  const format = {
    backend: 'armv8',
    granule,
    iaBits,
    oaBits: 48,
    startLevel,
    features: FEATURES,
    ...(regime === 's2' ? {} : { mair: MAIR }),
    ...more,
  };
  const features = Object.entries(format.features).flatMap(([feature, value]) =>
    value === true || (value !== 0 && value !== false) ? [`${feature} ${String(value)}`] : [],
  );
  return { name: `${format.backend} ${regime} ${granule} ${iaBits} bits from level ${startLevel}, ${features.join(', ') || 'no features'}`, regime, format };
}

const ARMV7: Partial<ContextFormat> = { backend: 'armv7-lpae', oaBits: 40, features: {} };

/** Every backend, granule and regime, with and without FEAT_TTL, FEAT_TLBIRANGE and FEAT_BBM. */
export const SETUPS: readonly Setup[] = [
  setup('s2', '4K', 40, 1),
  setup('s2', '4K', 40, 1, { features: {} }),
  setup('s2', '4K', 40, 1, { features: { bbm: 2, ttl: true, tlbirange: true } }),
  setup('s2', '4K', 48, 0),
  setup('s2', '16K', 40, 2),
  setup('s2', '16K', 47, 1, { features: { ttl: true } }),
  setup('s2', '64K', 42, 2),
  setup('s2', '64K', 42, 2, { features: { tlbirange: true } }),
  setup('el2', '4K', 48, 0),
  setup('el2', '16K', 36, 2, { features: {} }),
  setup('el10', '4K', 39, 1),
  setup('el20', '64K', 48, 1, { features: {} }),
  setup('el10', '4K', 48, 0, { upper: true }),
  setup('s2', '4K', 40, 1, ARMV7),
  setup('s2', '4K', 32, 1, ARMV7),
  setup('pl10', '4K', 32, 1, ARMV7),
  setup('pl2', '4K', 32, 1, ARMV7),
  setup('s2', '4K', 40, 1, { backend: 'fake', oaBits: 44, features: {} }),
  setup('s2', '16K', 36, 2, { backend: 'fake', oaBits: 44, features: {} }),
];

export const STAGE2 = SETUPS[0];
export const EL2 = SETUPS[8];

export function formatOf({ regime, format }: Setup): Format {
  const made = formats({ type: 'context-installed', regime, root: 0, format });
  if (made.kind !== 'done') {
    throw new Error(made.sentence);
  }
  return made.value;
}

const POOL: Readonly<Record<Granule, number>> = { '4K': 40, '16K': 12, '64K': 8 };

/** A live table with a sink, installed under VMID 1 (stage 2) or ASID 1. */
export class Machine {
  readonly table: GranulePageTable;
  readonly format: Format;

  constructor(
    private readonly setup: Setup,
    readonly sink: EffectSink,
    coherence: Coherence = { fwb: true, dic: true },
    pages = POOL[setup.format.granule],
  ) {
    this.format = formatOf(setup);
    const { pageShift, entryTables } = this.format.geometry;
    const memory = createTableArena({ pageShift, maxPages: pages + entryTables, initialPages: pages + entryTables });
    const heard = setup.format.backend === 'fake' ? inArmNames(sink) : sink;
    const created = createPageTable({ format: this.format, memory, sink: heard, coherence });
    if (created.kind !== 'done') {
      throw new Error(created.sentence);
    }
    this.table = created.value;
    sink.effect({ ...this.tags(), type: 'context-installed', format: setup.format });
  }

  private tags() {
    const { regime } = this.setup;
    return { regime, root: this.table.root, ...(regime === 's2' ? { vmid: 1 } : regime === 'el2' || regime === 'pl2' ? {} : { asid: 1 }) };
  }

  /**
   * As the caller of a page table: write protection is followed by the flush of the range that the table leaves to it. So is a relaxation
   * that takes execution away, which invalidates this PE alone.
   */
  perform(command: Command, mode: Mode): void {
    const { table } = this;
    switch (command.op) {
      case 'map':
        this.map(command, mode);
        break;
      case 'unmap':
        this.unmap(command, mode);
        break;
      case 'write-protect':
        table.writeProtect(command.ia, command.size);
        this.flushRange(command.ia, command.size);
        break;
      case 'age':
        table.age(command.ia, command.size, command.clear);
        break;
      case 'make-young':
        table.makeYoung(command.ia);
        break;
      case 'relax':
        table.relaxPermissions(command.ia, command.add);
        if (command.add.px === false || command.add.ux === false) {
          this.flushRange(command.ia, 1);
        }
        break;
      case 'split':
        table.split(command.ia, command.size, {
          mode,
          budget: table.memory.free,
          ...(command.toLevel === undefined ? {} : { toLevel: command.toLevel }),
        });
        break;
      case 'merge':
        table.merge(command.ia, command.size);
        break;
      case 'annotate':
        table.annotate(command.ia, command.size, command.type, command.value);
        break;
      case 'flush':
        table.flush(command.ia, command.size);
        break;
      case 'lookup':
      case 'query':
        break;
    }
  }

  private map({ ia, size, output, attributes, options, prepared }: Command & { readonly op: 'map' }, mode: Mode): void {
    if (prepared === undefined || mode === 'linux') {
      this.table.map(ia, size, output, attributes, { ...options, mode });
      return;
    }
    const outcome = this.table.prepareMap(ia, size, output, attributes, options);
    if (outcome.kind === 'done') {
      outcome.value[prepared === 'commit' ? 'commit' : 'cancel']();
    }
  }

  /** Deferred, Linux invalidates the range asked for, so the caller asks for whole blocks. */
  private unmap({ ia, size, options }: Command & { readonly op: 'unmap' }, mode: Mode): void {
    const whole = mode === 'linux' && options?.tlbi === 'deferred';
    const { start, end } = whole ? this.wholeBlocks(ia, size) : { start: ia, end: ia + size };
    this.table.unmap(start, end - start, { ...options, mode });
  }

  private wholeBlocks(ia: number, size: number): { readonly start: number; readonly end: number } {
    const { geometry } = this.format;
    const largest = 2 ** (geometry.pageShift + 2 * geometry.stride);
    return { start: Math.floor(ia / largest) * largest, end: Math.ceil((ia + size) / largest) * largest };
  }

  /** Linux: kvm_tlb_flush_vmid_range over all that write protection may have touched, whole blocks included. */
  flushRange(ia: number, size: number): void {
    const { start, end } = this.wholeBlocks(ia, size);
    const sink = this.setup.format.backend === 'fake' ? inArmNames(this.sink) : this.sink;
    for (const step of this.format.tlbi.range) {
      sink.effect(
        step.type !== 'tlbi'
          ? step
          : { type: 'tlbi', op: step.op, ...(step.takes === 'range' ? { address: start, bytes: end - start } : {}) },
      );
    }
  }

  /** The table is taken out of use, then freed. */
  destroy(): void {
    this.sink.effect({ ...this.tags(), type: 'context-retired' });
    this.table.destroy();
  }
}

/** The fake backend's invalidations are no Arm's: each becomes one that takes everything of both stages. */
function inArmNames(sink: EffectSink): EffectSink {
  const named = <T extends Effect>(effect: T): T => (effect.type === 'tlbi' ? { ...effect, op: 'ALLE1IS' } : effect);
  return {
    effect(effect) {
      if (effect.type !== 'write') {
        sink.effect(named(effect));
        return;
      }
      const { before, after } = effect;
      sink.effect({ ...effect, ...(before !== undefined && { before: before.map(named) }), ...(after !== undefined && { after: after.map(named) }) });
    },
  };
}

/** What the judge says of these effects. */
export function judged(effects: Iterable<Effect>): Verdict {
  const judge = newJudge();
  for (const effect of effects) {
    judge.effect(effect);
  }
  return judge.finish();
}
