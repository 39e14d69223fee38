export { hypAddress, hypLayout, type HypLayout, type HypLayoutInput } from './layout.js';
export { HYP_POLICIES, type HypKind, type HypMapCall, HypMappings, type HypMappingsOptions, type HypPolicy, stackOverflowed } from './mappings.js';
export { DownwardVa, type PrivateVa, UpwardVa } from './private-va.js';
export { SharedPages, type SharingCalls } from './shared-pages.js';
