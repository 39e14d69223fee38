import { describe, it } from 'vitest';
import { fake, formatConformance } from '../src/index.js';

describe('the fake backend conforms', () => {
  formatConformance(fake, { describe, it, runs: 10, seed: 42 });
});
