export { compare, differences, type Difference, type Verdict } from './compare.js';
export { runVectors, vectorConformance, type QueryResult, type VectorConformanceOptions } from './run.js';
