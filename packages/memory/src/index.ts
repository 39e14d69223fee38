export * from './arena.js';
export { checkArena } from './check.js';
