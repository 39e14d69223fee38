export * from './key.js';
