import type { Effect } from '@granule/contract';
import { fromHalves, hex, MAX_ADDRESS, toBigint } from '@granule/geometry/bits';

/** A value that does not fit its field: what is wrong with it, and where below the field. */
export class Misfit {
  constructor(readonly what: string, readonly path: string = '') {}
}

/** How one kind of value stands in a line. Neither direction keeps state. */
interface Kind {
  readonly read: (json: unknown) => unknown;
  readonly write: (value: never) => unknown;
}

interface FieldSpec {
  readonly name: string;
  readonly kind: Kind;
  readonly optional: boolean;
}

/** The fields of an object, in the order in which they are written. */
export type ObjectSpec = readonly FieldSpec[];

const HEX = /^0x[0-9a-f]{1,16}$/iu;

const kind = <T>(read: (json: unknown) => T | Misfit, write: (value: T) => unknown): Kind => ({ read, write });

const address = kind(
  (json) => {
    const value = typeof json === 'string' && HEX.test(json) ? Number(json) : -1;
    return value < 0 ? new Misfit('is not an address written as 0x…') : value > MAX_ADDRESS ? new Misfit('is larger than 2^52') : value;
  },
  (value) => hex(value, 1),
);
const word = kind(
  (json) => (typeof json === 'string' && HEX.test(json) ? BigInt(json) : new Misfit('is not a 64-bit value written as 0x…')),
  (value) => hex(value, 1),
);
const text = kind(
  (json) => (typeof json === 'string' && json !== '' ? json : new Misfit('is not a text')),
  (value) => value,
);
const flag = kind(
  (json) => (typeof json === 'boolean' ? json : new Misfit('is neither true nor false')),
  (value) => value,
);
const integer = (min: number, max: number): Kind =>
  kind(
    (json) =>
      Number.isInteger(json) && (json as number) >= min && (json as number) <= max
        ? (json as number)
        : new Misfit(`is not an integer from ${min} to ${max}`),
    (value) => value,
  );
const oneOf = (...values: readonly (string | number)[]): Kind =>
  kind(
    (json) => (values.includes(json as string) ? (json as string) : new Misfit(`is not one of ${values.join(', ')}`)),
    (value) => value,
  );
const level = integer(-1, 3);

/** Descriptors as one `0x…` text each; in memory two 32-bit halves each. */
const words = kind<Uint32Array>(
  (json) => {
    if (!Array.isArray(json)) {
      return new Misfit('is not a list of descriptors');
    }
    const halves = new Uint32Array(2 * json.length);
    for (let i = 0; i < json.length; i++) {
      const each: unknown = json[i];
      if (typeof each !== 'string' || !HEX.test(each)) {
        return new Misfit('is not a 64-bit value written as 0x…', `[${i}]`);
      }
      halves[2 * i] = parseInt(each.slice(Math.max(2, each.length - 8)), 16);
      halves[2 * i + 1] = each.length > 10 ? parseInt(each.slice(2, -8), 16) : 0;
    }
    return halves;
  },
  (value) => Array.from({ length: value.length / 2 }, (_, i) => descriptorText(value[2 * i], value[2 * i + 1])),
);

function descriptorText(lo: number, hi: number): string {
  return hex(hi < 0x10_0000 ? fromHalves(lo, hi) : toBigint(lo, hi), 1);
}

const object = (spec: ObjectSpec): Kind =>
  kind(
    (json) => readObject(json, spec),
    (value) => writeObject(value, spec),
  );

/** A list of the effects that may come with an entry. */
const entryEffects = kind(
  (json) => {
    if (!Array.isArray(json)) {
      return new Misfit('is not a list of effects');
    }
    const effects: unknown[] = [];
    for (const [i, each] of json.entries()) {
      const type: unknown = (each as { type?: unknown } | null)?.type;
      const known = type === 'tlbi' || type === 'dsb' || type === 'isb' || type === 'cmo';
      const effect = known ? readObject(each, EFFECT_FIELDS[type]) : new Misfit('is not a tlbi, dsb, isb or cmo');
      if (effect instanceof Misfit) {
        return new Misfit(effect.what, `[${i}]${effect.path}`);
      }
      effects.push(effect);
    }
    return effects;
  },
  (value) => (value as readonly Effect[]).map(effectJson),
);

const must = (name: string, is: Kind): FieldSpec => ({ name, kind: is, optional: false });
const may = (name: string, is: Kind): FieldSpec => ({ name, kind: is, optional: true });

const TYPE = must('type', text);
const PE = may('pe', integer(0, 65535));
const VMID = may('vmid', integer(0, 65535));
const ASID = may('asid', integer(0, 65535));
const REGIME = may('regime', text);
const ACCESSES = oneOf('read', 'write', 'fetch', 'cache-maintenance', 'at-read', 'at-write');
const FAULTS = oneOf(
  'translation',
  'access-flag',
  'permission',
  'address-size',
  'external-abort',
  'external-abort-on-walk',
  'alignment',
  'tlb-conflict',
  'unsupported-atomic-update',
);
const MISMATCHES = oneOf('data.stale-read', 'data.lost-dirty-line', 'code.stale-instructions', 'cache.set-way-not-enough');
const OPERATIONS = oneOf(
  'dc-civac',
  'dc-cvac',
  'dc-ivac',
  'dc-cvau',
  'dc-zva',
  'ic-ivau',
  'ic-iallu',
  'ic-ialluis',
  'dc-isw',
  'dc-csw',
  'dc-cisw',
);

const FEATURES: ObjectSpec = [
  may('bbm', integer(0, 2)),
  ...['bti', 'haf', 'hdbs', 'hpds', 'hpds2', 'lpa', 'tlbirange', 'ttl', 'xnx', 'xs'].map((name) => may(name, flag)),
];
const FORMAT: ObjectSpec = [
  must('backend', text),
  must('granule', oneOf('4K', '16K', '64K')),
  must('iaBits', integer(16, 52)),
  must('oaBits', integer(32, 52)),
  must('startLevel', level),
  ...['ds', 'upper', 'fwb', 'hpd'].map((name) => may(name, flag)),
  may('mair', word),
  may('features', object(FEATURES)),
];
const FAULT: ObjectSpec = [
  must('type', FAULTS),
  must('level', level),
  must('stage', oneOf(1, 2)),
  must('s1ptw', flag),
  must('access', ACCESSES),
  must('address', address),
  must('upper', flag),
  may('ipa', address),
];
const CONTEXT: ObjectSpec = [TYPE, must('regime', text), must('root', address), VMID, ASID, may('format', object(FORMAT)), PE];

/** The fields of each event of `granule-events/1`, by type. Reader, writer and the documentation's test rest on this table. */
export const EFFECT_FIELDS: Readonly<Record<Effect['type'], ObjectSpec>> = {
  tlbi: [TYPE, must('op', text), may('address', address), may('level', level), may('bytes', address), VMID, ASID, REGIME, PE],
  dsb: [TYPE, must('domain', oneOf('ish', 'ishst', 'nsh', 'nshst', 'osh', 'oshst', 'sy', 'st')), PE],
  isb: [TYPE, PE],
  cmo: [TYPE, must('op', OPERATIONS), must('to', oneOf('poc', 'pou')), must('address', address), must('bytes', address), PE],
  write: [
    TYPE,
    must('table', address),
    must('level', level),
    must('index', integer(0, 131071)),
    must('count', integer(1, 131072)),
    must('address', address),
    may('old', words),
    may('new', words),
    must('release', flag),
    may('before', entryEffects),
    may('after', entryEffects),
    PE,
  ],
  take: [TYPE, must('table', address), must('pages', integer(1, 16))],
  free: [TYPE, must('table', address), must('pages', integer(1, 16)), must('deferred', flag)],
  register: [TYPE, must('name', text), must('value', word), PE],
  'context-installed': CONTEXT,
  'context-retired': CONTEXT,
  access: [
    TYPE,
    must('access', ACCESSES),
    must('address', address),
    may('output', address),
    must('bytes', address),
    may('value', word),
    may('attributes', integer(0, 255)),
    may('shareability', integer(0, 3)),
    REGIME,
    may('ipa', address),
    VMID,
    ASID,
    may('mismatch', object([must('rule', MISMATCHES), may('cause', integer(1, 2 ** 52)), may('expected', word)])),
    PE,
  ],
  fault: [TYPE, must('fault', object(FAULT)), REGIME, VMID, ASID, PE],
};

/** An object of this shape, each value in its in-memory form; fields that the shape does not have are refused. */
export function readObject(json: unknown, spec: ObjectSpec): Record<string, unknown> | Misfit {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    return new Misfit('is not an object');
  }
  const source = json as Record<string, unknown>;
  const result: Record<string, unknown> = {};
  let known = 0;
  for (const { name, kind: is, optional } of spec) {
    const value = source[name];
    if (value === undefined) {
      if (!optional) {
        return new Misfit('is missing', `.${name}`);
      }
      continue;
    }
    known++;
    const read = is.read(value);
    if (read instanceof Misfit) {
      return new Misfit(read.what, `.${name}${read.path}`);
    }
    result[name] = read;
  }
  const names = Object.keys(source);
  if (names.length !== known) {
    const unknown = names.find((name) => spec.every((field) => field.name !== name)) ?? '';
    return new Misfit('is not a known field', `.${unknown}`);
  }
  return result;
}

function writeObject(value: object, spec: ObjectSpec): Record<string, unknown> {
  const json: Record<string, unknown> = {};
  for (const { name, kind: is } of spec) {
    const each = (value as Record<string, unknown>)[name];
    if (each !== undefined) {
      json[name] = is.write(each as never);
    }
  }
  return json;
}

/** An effect as it stands in a line: descriptors that are all zero are left out. */
export function effectJson(effect: Effect): Record<string, unknown> {
  const { old: before, new: after, ...rest } = writeObject(effect, EFFECT_FIELDS[effect.type]);
  return effect.type !== 'write'
    ? rest
    : { ...rest, ...(isZero(effect.old) ? {} : { old: before }), ...(isZero(effect.new) ? {} : { new: after }) };
}

function isZero(halves: Uint32Array): boolean {
  return halves.every((half) => half === 0);
}
