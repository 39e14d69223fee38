import { scenarioJsonSchema } from '@granule/lab';
import { expect, it } from 'vitest';

it('docs/schemas has the schema of scenarios as the reader has it (vitest -u writes it anew)', async () => {
  await expect(`${JSON.stringify(scenarioJsonSchema(), undefined, 2)}\n`).toMatchFileSnapshot('../docs/schemas/granule-scenario-1.json');
});
