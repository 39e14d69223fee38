export { hypDestroy } from './destroy.js';
export { type HypMapOptions, hypMap } from './map.js';
export { type HypUnmapOptions, hypUnmap } from './unmap.js';
