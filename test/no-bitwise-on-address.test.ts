import { join } from 'node:path';
import { RuleTester } from 'eslint';
import { parser } from 'typescript-eslint';
import { describe, it } from 'vitest';
import { noBitwiseOnAddress } from '../eslint/no-bitwise-on-address.js';

RuleTester.describe = describe;
RuleTester.it = it;

const tester = new RuleTester({
  languageOptions: {
    parser,
    parserOptions: {
      projectService: { allowDefaultProject: ['*.ts'] },
      tsconfigRootDir: join(import.meta.dirname, '..'),
    },
  },
});

// The types as @granule/geometry/bits exports them, so that a change of the flavour there fails here.
const types = "import type { Address, InputAddress, OutputAddress } from '@granule/geometry/bits';";
const code = (body: string) => `${types}
declare const any: Address; declare let ia: InputAddress; declare const oa: OutputAddress; declare const maybe: OutputAddress | undefined;
declare let word: number; declare const wide: bigint;
${body}`;
const bad = (body: string, operator: string) => ({
  name: body,
  code: code(body),
  filename: 'address.ts',
  errors: [{ message: `'${operator}' keeps 32 bits of an address of up to 52: use the helpers of @granule/geometry/bits.` }],
});
const good = (body: string) => ({ name: body, code: code(body), filename: 'address.ts' });

tester.run('no-bitwise-on-address', noBitwiseOnAddress, {
  valid: [
    good('export const shifted = word >>> 12;'),
    good('export const big = wide & 0xfffn;'),
    good('export const page = ia - (ia % 4096);'),
    good('export const below = ia < oa && any !== 0;'),
    good('ia += 4096; word |= 1;'),
  ],
  invalid: [
    ...['&', '|', '^', '<<', '>>', '>>>'].map((operator) => bad(`export const x = ia ${operator} 12;`, operator)),
    ...['&=', '|=', '^=', '<<=', '>>=', '>>>='].map((operator) => bad(`ia ${operator} 12;`, operator)),
    bad('export const x = 1 | oa;', '|'),
    bad('export const x = ~any;', '~'),
    bad('word |= oa;', '|='),
    bad('export const x = maybe! & 0xfff;', '&'),
    bad('export const f = (a: OutputAddress | number) => a >>> 1;', '>>>'),
  ],
});
