export * from './backend.js';
export * from './effects.js';
export * from './fault.js';
export * from './format.js';
export * from './memory.js';
export * from './outcome.js';
export * from './pgtable.js';
export * from './words.js';
