import { shared } from './vitest.shared.js';

// Everything by path: `npx vitest run packages/geometry`, `npx vitest run --dir test`.
export default shared(['**/*.test.ts']);
