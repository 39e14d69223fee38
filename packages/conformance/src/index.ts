export { expandAll, expandEffect } from './effects/expand.js';
export { effectsDiffer, recorder, sameEffects, type Recorder } from './effects/recorder.js';
export { effectText } from './effects/text.js';
export { fake } from './fake/index.js';
export { outputBits, outputs, ranges } from './arbitraries/addresses.js';
export { legalAttributes } from './arbitraries/attributes.js';
export { anyGeometry, geometries, geometryName, someGeometries } from './arbitraries/geometries.js';
export { formatConformance, formatLaws, type FormatConformanceOptions, type FormatLaw } from './format/suite.js';
export { ConformanceError, type Budget, type Runner } from './law.js';
