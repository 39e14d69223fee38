export { decide, everyChoice, type Choose } from './choice.js';
export { createCounts, type Counts } from './counts.js';
export { entriesOf, type Fetched, type WalkedEntry } from './entries.js';
export { Machine, type Listener, type MachineOptions, type PeOptions } from './machine.js';
export { type From, Maintenance } from './maintenance.js';
export { Pe, type PeAccess, type PeAnswer, type PeDone, type PeFault, type PeSkipped } from './pe.js';
export { Contexts, type Setting } from './setting.js';
export { explore, type Explored, type Judged } from './litmus.js';
export { parseLitmus, type Litmus, type LitmusTable, type Mapping, type Verdict as LitmusVerdict } from './litmus-text.js';
