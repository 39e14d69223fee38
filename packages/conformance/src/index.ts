export { expandAll, expandEffect } from './effects/expand.js';
export { effectsDiffer, recorder, sameEffects, type Recorder } from './effects/recorder.js';
export { effectText } from './effects/text.js';
export { fake } from './fake/index.js';
