import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problems } from './schema.js';
import { bundle, granule, RUN, SCRIPT } from './support.js';

const C1 = join(RUN, 'c1.core.gz');
const C2 = join(RUN, 'c2.core.gz');
const scratch = mkdtempSync(join(tmpdir(), 'granule-command-'));

beforeAll(bundle, 30_000);
afterAll(() => rmSync(scratch, { recursive: true }));

/** The output as JSON, held against its schema. */
function json(...words: readonly string[]): Record<string, unknown> {
  const value = JSON.parse(granule(...words, '--json').stdout) as Record<string, unknown>;
  const file = `${String(value['schema']).replace('/', '-')}.json`;
  const schema = JSON.parse(readFileSync(join(import.meta.dirname, '../../../docs/schemas', file), 'utf8')) as Record<string, unknown>;
  expect(problems(schema, value)).toEqual([]);
  return value;
}

describe('granule', () => {
  it.each(['geometry', 'decode', 'dump', 'walk', 'translate', 'build', 'check', 'run', 'replay', 'tour'])('%s --help has an example', (verb) => {
    const { status, stdout } = granule(verb, '--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`Examples?:\n {2}granule ${verb}`));
  });

  it('lists its verbs', () => {
    const { status, stdout } = granule('--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(/geometry.*\n(.*\n)*.*decode.*\n(.*\n)*.*dump.*\n(.*\n)*.*walk/);
  });

  it.each([[['geometry']], [['decode', 'VTCR_EL2', '0x800a3558']]])('%j starts in at most eight times what node itself takes to start', (words) => {
    const least = (run: () => void): number =>
      Math.min(
        ...Array.from({ length: 5 }, () => {
          const start = performance.now();
          run();
          return performance.now() - start;
        }),
      );
    const bare = least(() => spawnSync(process.execPath, ['-e', '0']));
    expect(least(() => granule(...words))).toBeLessThan(8 * bare);
  });

  it.each<[string, string[], RegExp]>([
    ['an unknown verb', ['fly'], /^granule: unknown command 'fly'\n$/],
    ['an unknown option', ['geometry', '--fast'], /^granule: unknown option '--fast'\n$/],
    ['a verb that is not written yet', ['study'], /^granule: study: this verb is planned/],
    ['a folder as an image', ['dump', RUN], /^granule: .*A-4k-a76: it is a directory\.\n$/],
    ['cases that are not there', ['translate', '--cases', 'nowhere.jsonl'], /^granule: nowhere\.jsonl: there is no such file\.\n$/],
    ['cases that are no JSON', ['translate', '--cases', join(RUN, 'ops.txt')], /^granule: .*ops\.txt:1: The text is not JSON/],
    ['an explanation of what no policy did', ['replay', RUN, '--ops', '--explain', '0'], /^granule: --explain: /],
    ['a missing file', ['dump', 'nowhere.core'], /^granule: nowhere\.core: there is no such file\.\n$/],
    ['a folder', ['dump', RUN, '--regs', join(RUN, 'c1.regs.json')], /it is not a file|it is a directory/],
    ['no registers', ['dump', join(RUN, 'run.json')], /--regs/],
    [
      'a file that is no image',
      ['dump', join(RUN, 'run.json'), '--regs', join(RUN, 'c1.regs.json')],
      /^granule: .*run\.json: The image begins with/,
    ],
    ['registers that are no JSON', ['dump', C1, '--regs', join(RUN, 'ops.txt')], /^granule: .*ops\.txt: The text is not JSON: .*line 1/],
    ['a regime that is not there', ['dump', C1, '--regime', 's3'], /^granule: --regime s3: The image has no regime s3; it has .*stage2\./],
    ['an address that is none', ['walk', C1, 'here'], /^granule: ADDRESS: here is not a 64-bit number/],
    ['a filter that is none', ['dump', C1, '--filter', 'fast'], /^granule: --filter: The filter fast/],
    ['a range that is none', ['dump', C1, '--range', '7'], /^granule: --range: The range 7/],
    ['a register that is none', ['decode', 'VTCR_EL9', '0'], /^granule: VTCR_EL9 is not a register.*VTCR_EL2/],
    ['an architecture that is none', ['decode', 'TTBCR', '0', '--arch', 'armv6'], /^granule: --arch: armv6 is not armv8 or armv7-lpae/],
  ])('%s ends in one sentence on stderr and exit code 2', (_, words, message) => {
    const { status, stdout, stderr } = granule(...words);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });
});

describe('what is around the command', () => {
  const LOG = join(import.meta.dirname, '../../../packages/cache-tlb/test/judge/logs/tlbi.wrong-level.bad.jsonl');
  const shell = (line: string, env: NodeJS.ProcessEnv = {}): ReturnType<typeof spawnSync> & { stdout: string; stderr: string } =>
    spawnSync('/bin/sh', ['-c', line], { encoding: 'utf8', env: { PATH: process.env['PATH'], ...env, NODE: process.execPath, GRANULE: SCRIPT, RUN, LOG } });

  it.each(['CI', 'FORCE_COLOR'])('a pipe gets no colours, with %s set either', (name) => {
    const { status, stdout } = shell('"$NODE" "$GRANULE" geometry', { [name]: '1' });
    expect(status).toBe(0);
    expect(stdout).toMatch(/by default/);
    expect(stdout).not.toContain('\u001b');
  });

  it.each(['cat "$LOG" | "$NODE" "$GRANULE" check -', 'gzip -c "$LOG" | "$NODE" "$GRANULE" check /dev/stdin', '"$NODE" "$GRANULE" check - < "$LOG"'])(
    'input may come through a pipe: %s',
    (line) => {
      const { status, stdout } = shell(line);
      expect(stdout).toMatch(/violation: tlbi\.wrong-level.*\n$/);
      expect(status).toBe(1);
    },
  );

  it('a reader that closes its pipe early is no error', () => {
    const { stdout, stderr } = shell('"$NODE" "$GRANULE" dump "$RUN/c1.core.gz" --no-merge | head -1; "$NODE" "$GRANULE" replay "$RUN" --json | head -1');
    expect(stderr).toBe('');
    expect(stdout.trimEnd().split('\n')).toHaveLength(2);
  });

  it.runIf(existsSync('/dev/full'))('output that cannot be written is one sentence and exit code 2', () => {
    const { status, stderr } = shell('"$NODE" "$GRANULE" dump "$RUN/c1.core.gz" > /dev/full');
    expect(stderr).toBe('granule: standard output: the disk is full.\n');
    expect(status).toBe(2);
  });

  it('help VERB is VERB --help', () => {
    expect(granule('help', 'dump')).toEqual(granule('dump', '--help'));
  });
});

describe('granule geometry', () => {
  it('answers the fields that scripts read', () => {
    expect(json('geometry', '--granule', '4K', '--ipa', '40', '--pa', '40', '--features', 'vmid16')).toEqual({
      schema: 'granule-geometry/1',
      granule: '4K',
      ipaBits: 40,
      paBits: 40,
      startLevel: 1,
      levels: 3,
      entryTables: 2,
      entryBytes: 8192,
      entryAlignment: 8192,
      // What the kernel of the bundled run has in VTCR_EL2, with 16-bit VMIDs and a 40-bit PA.
      vtcr: '0x00000000800a3558',
    });
  });

  it('an illegal configuration is exit code 1 and the sentence', () => {
    const words = ['geometry', '--granule', '16K', '--ipa', '42', '--host-va', '36'];
    const { refused } = json(...words) as { refused: { id: string; sentence: string } };
    expect(refused).toEqual({
      id: 'geometry.host-levels',
      sentence: 'stage-2 needs 3 levels for a 42-bit IPA with 16K pages; a host with 36-bit VA has 2',
    });
    expect(granule(...words)).toMatchObject({ status: 1, stdout: `refused: ${refused.sentence}\n` });
  });

  it("has KVM's stage 2 of 32-bit hosts: 40 bits, two tables from level 1, VTTBR aligned to 2^13", () => {
    expect(json('geometry', '--arch', 'armv7-lpae')).toEqual({
      schema: 'granule-geometry/1',
      granule: '4K',
      ipaBits: 40,
      paBits: 40,
      startLevel: 1,
      levels: 3,
      entryTables: 2,
      entryBytes: 8192,
      entryAlignment: 8192,
      // T0SZ -8 (field 8, S 1), SL0 1, walks Inner Shareable and Write-Back; bit 31 is RES1 (DDI 0406C B4.1, VTCR).
      vtcr: '0x0000000080003558',
    });
    expect(granule('geometry', '--arch', 'armv7-lpae', '--ipa', '41').status).toBe(1);
    expect(granule('geometry', '--arch', 'armv7-lpae', '--pa', '48').status).toBe(2);
  });

  it('states its defaults', () => {
    expect(granule('geometry').stdout).toContain('by default: --ipa 40, --pa 48, no features');
  });

  it('--all lists every granule', () => {
    const { configurations } = json('geometry', '--all', '--features', 'lpa2,lva') as {
      configurations: { granule: string; refused?: unknown }[];
    };
    expect(new Set(configurations.map(({ granule: each }) => each))).toEqual(new Set(['4K', '16K', '64K']));
    expect(configurations.filter(({ refused }) => refused !== undefined)).toEqual([]);
  });
});

describe('granule geometry and what does not go together', () => {
  it('--all lists what is not given', () => {
    const rows = (...words: readonly string[]): readonly unknown[] => json('geometry', '--all', ...words)['configurations'] as readonly unknown[];
    expect(rows('--granule', '16K')).toHaveLength(21);
    expect(rows('--ipa', '40')).toMatchObject([{ granule: '4K', ipaBits: 40 }, { granule: '16K', ipaBits: 40 }, { granule: '64K', ipaBits: 40 }]);
    expect(rows('--va', '39', '--granule', '64K')).toMatchObject([{ granule: '64K', vaBits: 39 }]);
  });

  it.each(['--start-level', '--host-va', '--host-granule'])('%s is of stage 2', (option) => {
    const { status, stderr } = granule('geometry', '--va', '39', option, option === '--host-granule' ? '4K' : '1', ...(option === '--host-granule' ? ['--host-va', '39'] : []));
    expect(stderr).toBe(`granule: ${option}: it is of stage 2, and --va asks for stage 1.\n`);
    expect(status).toBe(2);
  });
});

describe('granule decode', () => {
  it('names the fields of a register', () => {
    const { fields } = json('decode', 'vtcr_el2', '0x800a_3558') as { fields: { name: string; value: string; meaning: string }[] };
    expect(fields.find(({ name }) => name === 'T0SZ')).toMatchObject({ value: '0x18', meaning: '40-bit input' });
  });

  it('names the fields of a descriptor', () => {
    const { fields } = json('decode', 'descriptor', '0x004000004077277f', '--regime', 's2', '--level', '3') as {
      fields: { name: string; meaning: string }[];
    };
    expect(fields.find(({ name }) => name === 'S2AP')).toMatchObject({ meaning: 'read-only' });
    expect(fields.find(({ name }) => name === 'XN')).toMatchObject({ meaning: 'not executable' });
  });

  it('names the fields of an ARMv7 register and descriptor', () => {
    const meaningOf = (name: string, ...words: string[]): string | undefined => {
      const { fields } = json('decode', ...words, '--arch', 'armv7-lpae') as { fields: { name: string; meaning: string }[] };
      return fields.find((each) => each.name === name)?.meaning;
    };
    expect(meaningOf('EPD0', 'TTBCR', '0xb540_3587')).toBe('TTBR0 walks off: translation fault');
    const page = ['descriptor', '0x004000000000071f', '--regime', 'pl10', '--mair', '0xff000004eeaa4400'];
    expect(meaningOf('XN', ...page)).toBe('not executable at PL1 and PL0');
    expect(meaningOf('AttrIndx', ...page)).toBe('Attr7, of MAIR1, 0xff: normal');
  });
});

describe('granule dump and walk', () => {
  it("--format ptdump prints the kernel's own text", () => {
    const { status, stdout } = granule('dump', C1, '--regs', join(RUN, 'c1.regs.json'), '--regime', 's2', '--format', 'ptdump');
    expect(stdout).toBe(readFileSync(join(RUN, 'c1.stage2_page_tables.txt'), 'utf8'));
    expect(status).toBe(0);
  });

  it('--json has every leaf of every range of the regime', () => {
    const { tables } = json('dump', C2, '--regime', 'el10', '--no-merge') as { tables: { mappings: unknown[] }[] };
    const listed = gunzipSync(readFileSync(join(RUN, 'c2.leaves.csv.gz')))
      .toString()
      .split('\n')
      .filter((line) => line.startsWith('guest-el1'));
    expect(tables.map(({ mappings }) => mappings.length).reduce((a, b) => a + b)).toBe(listed.length);
  });

  it('every address that the emulator was asked for translates alike', () => {
    const rows = readFileSync(join(RUN, 'c2.translate.csv'), 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .filter((_, i) => i % 40 === 0);
    for (const row of rows) {
      const [input, output] = row.split(',');
      const walk = json('walk', C2, '--regime', 'el10', input);
      expect(walk['output']).toBe(output === '' ? undefined : `0x${output.slice(2).padStart(16, '0')}`);
    }
  }, 20_000);

  it('a walk that ends in a fault is exit code 1', () => {
    const { status, stdout } = granule('walk', C2, '--regime', 'el10', '0x100000000');
    expect(status).toBe(1);
    expect(stdout).toMatch(/Translation fault, stage 1, level \d: the entry is zero/);
  });

  it('a fault names the access, the descriptor, the field, the clause and the codes', () => {
    const { status, stdout } = granule('walk', C2, '--regime', 'el10', '--access', 'write', '--el', '0', '0x80001234');
    expect(status).toBe(1);
    expect(stdout.slice(stdout.indexOf('0x0000000080001234 faults'))).toBe(`0x0000000080001234 faults
  access       write at EL0
  fault        Permission fault, stage 1, level 3: no write at EL0: the leaf is not for EL0.
  descriptor   0x0000000080001703 at PA 0x000000004099d008, stage 1, level 3
  field        AP[1] (bit 6) = 0x0: no EL0 access
  clause       DDI 0487 D8.4.1
  status       FSC 0x0f, PAR 0x000000000000081f
`);
    expect(json('walk', C2, '--regime', 'el10', '--access', 'write', '--el', '0', '0x80001234')).toMatchObject({
      access: { type: 'write', el: 0 },
      outcome: 'fault',
      fault: { descriptor: { value: '0x0000000080001703' }, field: { name: 'AP[1]' }, statusCode: '0x0f' },
    });
  });

  it('an exception level that the regime does not have is exit code 2', () => {
    const { status, stderr } = granule('walk', C2, '--regime', 's2', '--el', '2', '0x80001234');
    expect([status, stderr]).toEqual([2, 'granule: --el: Regime s2 translates for EL0 and EL1, not for EL2.\n']);
  });

  it.each([['0x80001234'], ['0x1000000000000'], ['0xffffffff80001234'], ['0x3f001ab4']])('of %s reads well in 110 columns', (address) => {
    const { stdout } = granule('walk', C2, '--regime', 'el10', '--nested', address);
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(110);
  });

  it('--nested shows how stage 2 finds each stage-1 descriptor', () => {
    const { stdout } = granule('walk', C2, '--regime', 'el10', '--nested', '0x80001234');
    expect(stdout.match(/^ {6}stage 2:/gm)).toHaveLength(4);
    expect(stdout.match(/^stage [12]:/gm)).toEqual(['stage 1:', 'stage 2:']);
  });

  it('broken tables are exit code 1 and findings', () => {
    const regs = join(scratch, 'broken.regs.json');
    writeFileSync(
      regs,
      JSON.stringify({
        schema: 'granule-registers/1',
        registers: { VTCR_EL2: '0x80053559', VTTBR_EL2: '0x40000000', ID_AA64MMFR0_EL1: '0x5' },
      }),
    );
    const image = join(scratch, 'broken.bin');
    const bytes = Buffer.alloc(4096);
    bytes.writeBigUInt64LE(0x4000_0003n, 0);
    writeFileSync(image, bytes);
    const { status, stdout } = granule('dump', image, '--regs', regs, '--base', '0x40000000');
    expect(status).toBe(1);
    expect(stdout).toContain('! The table at 0x0000000040000000 contains itself');
  });

  it('a sparse image of 100 GB is read where it is needed', () => {
    const image = join(scratch, 'huge.bin');
    writeFileSync(image, '');
    truncateSync(image, 100 * 2 ** 30);
    const regs = join(scratch, 'huge.regs.json');
    writeFileSync(
      regs,
      JSON.stringify({
        schema: 'granule-registers/1',
        registers: { VTCR_EL2: '0x80053559', VTTBR_EL2: '0x1800000000', ID_AA64MMFR0_EL1: '0x5' },
      }),
    );
    const { status, stdout } = granule('dump', image, '--regs', regs, '--base', '0');
    expect(stdout).toContain('0 leaves in 0 mappings');
    expect(status).toBe(0);
  });
});

describe('granule replay', () => {
  it('ends in the counts of equal calls and mappings', () => {
    const { status, stdout } = granule('replay', RUN);
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('1,850 of 1,850 calls, 447 of 447 mappings equal');
    expect(status).toBe(0);
    expect(json('replay', RUN)).toMatchObject({ totals: { calls: { equal: 1850, total: 1850 }, mappings: { equal: 447, total: 447 } }, exact: true });
  });

  it('--ops ends in the count of equal mappings', () => {
    const { status, stdout } = granule('replay', RUN, '--ops');
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('447 of 447 mappings equal');
    expect(status).toBe(0);
  });

  it('--until stops there, and --json has the report', () => {
    const { checkpoints, totals } = json('replay', RUN, '--ops', '--until', 'c1') as { checkpoints: { name: string }[]; totals: unknown };
    expect(checkpoints.map(({ name }) => name)).toEqual(['c1']);
    expect(totals).toEqual({ mappings: 223, equal: 223, identical: 223 });
  });

  it.each<[string, string[], number]>([
    ['a folder that is not there', ['nowhere', '--ops'], 2],
    ['a folder that is no run', [scratch, '--ops'], 2],
    ['a checkpoint that is not there', [RUN, '--ops', '--until', 'c9'], 2],
    ['a checkpoint that is not there, by causes', [RUN, '--until', 'c9'], 2],
  ])('%s ends in one sentence', (_, words, code) => {
    const { status, stderr } = granule('replay', ...words);
    expect(stderr).toMatch(/^granule: [^\n]+\.\n$/);
    expect(status).toBe(code);
  });
});

describe('a guest that is a hypervisor', () => {
  const C7 = join(RUN, '../G-4k-v2/c7.core.gz');

  it('walk --nested tells the chain, and keeps its schema', () => {
    const { status, stdout } = granule('walk', C7, '--regime', 's2', '--nested', '0x22000008');
    expect(status).toBe(0);
    expect(stdout).toContain("IPA 0x0000000022000008 -> VM's IPA 0x0000000042000008 -> PA 0x0000000046e00008 is in the shadow\n");
    expect(json('walk', C7, '--regime', 's2', '--nested', '0x22000008')).toMatchObject({
      schema: 'granule-shadow-walk/1', state: 'mapped', ipa: '0x0000000042000008', physical: '0x0000000046e00008',
      limits: { level: 2, bytes: 2 ** 25, read: true, write: true }, context: { virtVTTBR: '0x0003000080218000' },
    });
  });

  it('a fault that goes to the guest hypervisor is a finding', () => {
    expect(granule('walk', C7, '--regime', 's2', '--nested', '0x70000000').status).toBe(1);
    expect(json('walk', C7, '--regime', 's2', '--nested', '0x70000000')).toMatchObject({ state: 'forwarded', forwarded: { statusCode: '0x06', level: 2 } });
  });

  it("the VM's own stage 2 has no shadow: one sentence", () => {
    const { status, stderr } = granule('walk', C7, '--regime', 'stage2-canonical', '--nested', '0x80000000');
    expect(status).toBe(2);
    expect(stderr).toMatch(/^granule: --regime stage2-canonical: Regime stage2-canonical is the VM's own stage 2, no shadow; [^\n]+\.\n$/);
  });

  it('replay compares the shadows, and --explain tells what made and removed an entry', () => {
    const { stdout } = granule('replay', join(C7, '..'), '--explain', '0xa000_0000');
    expect(stdout).toMatch(/^437 of 437 shadow mappings equal\n1,048 of 1,048 calls, 1,146 of 1,146 mappings equal\n$/m);
    expect(stdout).toContain('end.trace.txt:746 forwarded in shadow 1: The level 2 entry 0x0000000000000000 at 0x0000000080202800 is invalid.');
    expect(stdout).toContain('end.trace.txt:849 removed in shadow 1: trapped TLBI VMALLS12E1IS');
  });

  it('replay --json keeps its schema', () => {
    expect(json('replay', join(C7, '..'), '--until', 'c2', '--explain', '0x2000_0000')).toMatchObject({
      totals: { shadowMappings: { equal: 34, total: 34 } }, nested: { hypervisor: 'ops.txt' }, history: [{ address: '0x0000000020000000' }],
    });
  });
});

describe('granule tour', () => {
  const tour = () => granule('tour');

  it("shows the map, finds the kernel's own dump equal line for line, and walks both stages", () => {
    const start = performance.now();
    const { status, stdout, stderr } = tour();
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(performance.now() - start).toBeLessThan(10_000);
    expect(stdout).toContain('224 leaves in 214 mappings');
    expect(stdout).toMatch(/^1,850 of 1,850 calls, 447 of 447 mappings equal$/m);
    expect(stdout).toContain('c1: 287 of 287 lines equal');
    expect(stdout).toContain('c2: 289 of 289 lines equal');
    expect(stdout).toContain('0x0000000080001234 is at PA 0x0000000040983234');
    expect(stdout).toMatch(/^661 of 661 calls, 361 of 361 shadow mappings equal, up to c7$/m);
  });

  it('--json has the numbers', () => {
    expect(json('tour')).toMatchObject({ replay: { calls: 1850, callsEqual: 1850, mappings: 447, equal: 447, identical: 447 }, texts: [{ equal: 287 }, { equal: 289 }] });
  });

  it('keeps to 120 columns, and has no colours for a pipe', () => {
    const { stdout } = tour();
    expect(stdout.split('\n').filter((line) => line.length > 120)).toEqual([]);
    expect(stdout.includes('\u001b')).toBe(false);
  });
});

/** Event logs. */
const HEADER = '{"schema":"granule-events/1"}';
const FORMAT = { backend: 'armv8', granule: '4K', iaBits: 40, oaBits: 48, startLevel: 1 };
const INSTALLED = { type: 'context-installed', regime: 's2', root: '0x40000000', vmid: 1, format: FORMAT };
const block = { type: 'write', table: '0x40000000', level: 1, index: 0, count: 1, address: '0x0', release: true };
const A = '0x400000000007fd';
const B = '0x400040000007fd';
const log = (...events: readonly unknown[]): string => [HEADER, ...events.map((each) => JSON.stringify(each))].join('\n');

const CLEAN = log(INSTALLED, { ...block, new: [A] }, { type: 'dsb', domain: 'ishst' });
const BROKEN = log(INSTALLED, { ...block, new: [A] }, { ...block, old: [A], new: [B] });

function file(name: string, text: string | Uint8Array): string {
  const path = join(scratch, name);
  writeFileSync(path, text);
  return path;
}

describe('granule check', () => {
  it('a log that keeps every rule: exit 0, the verdict is the last line', () => {
    const { status, stdout } = granule('check', file('clean.jsonl', CLEAN));
    expect(status).toBe(0);
    expect(stdout).toBe('clean: 3 events, 1 table\n');
  });

  it('a log that breaks one: exit 1, the violation with its line, and the verdict', () => {
    const path = file('broken.jsonl', BROKEN);
    const { status, stdout } = granule('check', path);
    expect(status).toBe(1);
    const [violation, verdict, ...rest] = stdout.split('\n');
    expect(violation).toMatch(/:4: bbm\.output-address at 0x0000000000000000: .*Cause: event 3; exposed by event 3/u);
    expect(violation.startsWith(path)).toBe(true);
    expect(verdict).toMatch(/^violation: bbm\.output-address at 0x0000000000000000/u);
    expect(rest).toEqual(['']);
  });

  it('gzip is inflated', () => {
    expect(granule('check', file('broken.jsonl.gz', gzipSync(BROKEN))).status).toBe(1);
  });

  it.each([
    ['clean', CLEAN, true],
    ['broken', BROKEN, false],
  ])('--json of a %s log keeps its schema', (_, text, clean) => {
    expect(json('check', file('any.jsonl', text))).toMatchObject({ schema: 'granule-check/1', clean });
  });

  it.each([
    ['no log', 'nothing', 'bad.jsonl:1: The first line is not {"schema":"granule-events/1"}.'],
    ['half a line', `${HEADER}\n{"type":"dsb"`, 'bad.jsonl:2: The line is not a JSON object.'],
    ['an unknown field', log({ type: 'isb', core: 1 }), 'bad.jsonl:2: isb.core is not a known field.'],
    ['a table without a format', log({ ...INSTALLED, format: undefined }), 'bad.jsonl:2: The table at 0x40000000 was installed without'],
    ['an unknown backend', log({ ...INSTALLED, format: { ...FORMAT, backend: 'vax' } }), 'bad.jsonl:2: Backend vax is not one of armv8'],
    ['an unknown invalidation', log(INSTALLED, { type: 'tlbi', op: 'VAE9' }), 'bad.jsonl:3: TLBI VAE9 is not an invalidation'],
  ])('unreadable, %s: exit 2, file and line', (_, text, message) => {
    const { status, stdout, stderr } = granule('check', file('bad.jsonl', text));
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });
});
