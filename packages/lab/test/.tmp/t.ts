import { readFileSync } from 'node:fs';
import { armv8 } from '@granule/armv8';
import { armv7Lpae } from '@granule/armv7-lpae';
import { readScenario } from '../../src/scenario/read.js';
import { runScenario } from '../../src/scenario/run/run-scenario.js';
for (const file of process.argv.slice(2)) for (const arch of ['armv8','armv7-lpae'] as const) {
  const t=performance.now();
  const s = readScenario(readFileSync(file,'utf8'), file);
  if (s.kind!=='done') { console.log(s.sentence); continue; }
  const r = runScenario(s.value.scenario, {backends:{armv8,'armv7-lpae':armv7Lpae}, arch, place: s.value.place, file});
  if (r.kind!=='done') { console.log(arch, r.sentence); continue; }
  console.log(file, arch, r.value.clean?'CLEAN':'NOT CLEAN', Math.round(performance.now()-t)+'ms');
  for (const v of r.value.variants) console.log(v.name, v.fidelity, JSON.stringify({counts:process.env.C?v.counts:undefined, tables:v.tables.now.pages, mappings:v.mappings, reads:v.reads.slice(0,3), viol:v.violations, exp:v.expectations.filter(e=>process.env.C||!e.passed), stopped:v.stopped, notes:v.notes, phases:process.env.P?v.phases:undefined},null,process.env.I?1:0));
}
