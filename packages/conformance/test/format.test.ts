import { describe, it } from 'vitest';
import { fake, formatConformance } from '../src/index.js';

formatConformance(fake, { describe, it });
