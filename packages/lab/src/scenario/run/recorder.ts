import type { Backend, Effect, EffectSink, Format } from '@granule/contract';
import { contextFormats, createJudge, type Judge } from '@granule/cache-tlb';
import { type CacheLines, Tally } from '../../report/tally.js';
import { effectWords } from './effect-words.js';

export interface RecorderOptions {
  readonly backend: Backend;
  readonly judged: boolean;
  readonly lines: CacheLines;
  /** Takes every event too: a log. */
  readonly log: EffectSink | undefined;
}

/** Events whose words can be told afterwards. */
const KEPT = 2 ** 18;

/** Everything that happens, in order: counted, judged, written down. Events are numbered from 1. */
export class Recorder implements EffectSink {
  readonly tally: Tally;
  readonly judge: Judge | undefined;
  /** Events so far. */
  events = 0;
  /** The last that wrote a descriptor. */
  lastWrite = 0;
  phase = '';
  /** Of the VM that the scenario is about. */
  format: Format | undefined;
  readonly #log: EffectSink | undefined;
  readonly #kept: Effect[] = [];
  readonly #phases: { readonly name: string; readonly from: number }[] = [{ name: '', from: 0 }];

  constructor({ backend, judged, lines, log }: RecorderOptions) {
    this.tally = new Tally({ lines, format: () => this.format! });
    this.judge = judged ? createJudge({ format: contextFormats({ [backend.name]: backend }) }) : undefined;
    this.#log = log;
  }

  effect(effect: Effect): void {
    this.events += 1;
    if (effect.type === 'write') {
      this.lastWrite = this.events;
    }
    this.tally.effect(effect);
    this.judge?.effect(effect);
    this.#log?.effect(effect);
    if (this.judge !== undefined && this.#kept.length < KEPT) {
      this.#kept.push(effect);
    }
  }

  nextPhase(name: string): void {
    this.phase = name;
    this.#phases.push({ name, from: this.events });
  }

  /** An event in words, and the phase in which it was. */
  told(event: number): { readonly event: number; readonly phase: string; readonly text: string } {
    const effect = this.#kept[event - 1];
    const phase = this.#phases.findLast(({ from }) => from < event)?.name ?? '';
    return { event, phase, text: effect !== undefined ? effectWords(effect) : event > this.events ? 'the end of the run' : 'not kept' };
  }
}
