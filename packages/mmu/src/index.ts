export { type Access } from './access.js';
export { context, contextOf, type Context, type ContextOptions } from './context.js';
export { FetchLog, MAX_FETCHES, type Fetch } from './fetches.js';
export { type DescriptorMemory, readerMemory, tableMemory } from './memory.js';
export { type Choices } from './options.js';
export { createTranslation, faultOf, MAX_UPDATES, PERMISSION, type FaultFields, type Translation, type UpdateLog } from './result.js';
export { mmu } from './table-walker.js';
export { mapWords, translate, translateWords, type Mapped } from './translate.js';
export { swapBytes } from './updates.js';
