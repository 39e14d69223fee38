#!/usr/bin/env node
import { existsSync } from 'node:fs';

// npm links this file at install, before the bundle exists.
const bundle = new URL('../dist/granule.js', import.meta.url);
if (existsSync(bundle)) {
  await import(bundle.href);
} else {
  console.error('granule is not bundled yet: npm run build');
  process.exitCode = 2;
}
