// Adds up the reports that GRANULE_TEST_REPORT=1 leaves beside each package, and prints one line: "N passed, N failed".
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const folders = ['.', ...['packages', 'apps'].flatMap((parent) => readdirSync(parent).map((name) => join(parent, name)))];
let passed = 0;
let failed = 0;
for (const folder of folders.filter((each) => existsSync(join(each, 'package.json')))) {
  const report = join(folder, '.reports/vitest.json');
  if (!existsSync(report)) {
    console.error(`${folder}: no test report`);
    failed += 1;
    continue;
  }
  /** @type {{ numPassedTests: number, numTotalTests: number, testResults: { status: string, assertionResults: unknown[] }[] }} */
  const { numPassedTests, numTotalTests, testResults } = JSON.parse(readFileSync(report, 'utf8'));
  passed += numPassedTests;
  failed += numTotalTests - numPassedTests;
  // A file that does not load fails without a test of its own.
  failed += testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0).length;
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
