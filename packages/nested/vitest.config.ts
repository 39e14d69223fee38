import { shared } from '../../vitest.shared.js';

export default shared(['test/**/*.test.ts']);
