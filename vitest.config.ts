import { shared } from './vitest.shared.js';

export default shared(['test/**/*.test.ts', 'packages/*/test/**/*.test.ts', 'apps/*/test/**/*.test.ts']);
