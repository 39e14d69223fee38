export { createTableArena, TableArena, type TableArenaOptions } from './arena.js';
export { bytesSource } from './bytes.js';
export { checkArena } from './check.js';
export { createImageTables, ImageTables, type ImageTablesOptions } from './image-tables.js';
export { loadPages, savePages, type LoadPagesOptions, type PageRun } from './pages.js';
export { SparseMemory, sparseMemory, type Segment, type SparseMemoryOptions } from './sparse.js';
export { translatedReader } from './translated.js';
