import type { StepsFile } from '@granule/snapshot';
import type { Survey } from './survey.js';

/** The trace that `steps.json` calls `end`. */
const END = 'end.trace.txt';

/** What the files of a run say against each other: they are not of one run, or something is lost. One sentence each. */
export function contradictionsOf({ counts, checkpoints }: Survey, steps: StepsFile): readonly string[] {
  const told = steps.events['end'];
  const read = counts.find(({ name }) => name === END);
  const sentences: string[] = [];
  if (told !== undefined && read !== undefined && told !== read.events && told !== read.events + read.torn) {
    sentences.push(`steps.json counts ${told} events in ${END}, and there are ${read.events}: the places of steps among them are not certain.`);
  }
  const missing = steps.steps.filter(({ n }, i, all) => i > 0 && n !== all[i - 1].n + 1).map(({ n }) => n);
  if (missing.length > 0) {
    sentences.push(`steps.json leaves out what comes before step ${missing.join(', ')}: what the VMM did there is not known.`);
  }
  const held = steps.steps.flatMap(({ call, args, after }) => (call === 'checkpoint' && after?.trace !== 'close' && typeof args['name'] === 'string' ? [args['name']] : []));
  for (const name of held.filter((each) => !checkpoints.includes(each))) {
    sentences.push(`steps.json has a checkpoint ${name}, and no trace a mark "hold ${name}": nothing was compared there.`);
  }
  return sentences;
}
