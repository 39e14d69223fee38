/** As much of JSON Schema as docs/schemas uses; every other keyword is an error, so that nothing is silently unchecked. */
type Schema = Readonly<Record<string, unknown>>;

const KNOWN = new Set([
  '$schema',
  '$defs',
  '$ref',
  'title',
  'description',
  'type',
  'const',
  'enum',
  'anyOf',
  'properties',
  'required',
  'additionalProperties',
  'items',
  'pattern',
  'minimum',
  'maximum',
]);

const typeOf = (value: unknown): string =>
  Array.isArray(value) ? 'array' : value === null ? 'null' : Number.isInteger(value) ? 'integer' : typeof value;

/** What is wrong with a value, with the path; empty where nothing is. */
export function problems(root: Schema, value: unknown, schema: Schema = root, path = '$'): readonly string[] {
  const unknown = Object.keys(schema).filter((keyword) => !KNOWN.has(keyword));
  if (unknown.length > 0) {
    throw new Error(`schema keyword ${unknown.join(', ')} at ${path}`);
  }
  if (typeof schema['$ref'] === 'string') {
    const defs = root['$defs'] as Readonly<Record<string, Schema>>;
    return problems(root, value, defs[schema['$ref'].replace('#/$defs/', '')], path);
  }
  if (Array.isArray(schema['anyOf'])) {
    const all = (schema['anyOf'] as readonly Schema[]).map((each) => problems(root, value, each, path));
    return all.some((each) => each.length === 0) ? [] : all.flat();
  }
  return [...scalarProblems(schema, value, path), ...childProblems(root, schema, value, path)];
}

function scalarProblems(schema: Schema, value: unknown, path: string): readonly string[] {
  const { type, const: only, enum: options, pattern, minimum, maximum } = schema;
  const wrong = [
    type !== undefined && type !== typeOf(value) ? `is ${typeOf(value)}, not ${JSON.stringify(type)}` : '',
    only !== undefined && only !== value ? `is ${String(value)}, not ${JSON.stringify(only)}` : '',
    Array.isArray(options) && !options.includes(value) ? `is ${String(value)}, none of ${options.join(', ')}` : '',
    typeof pattern === 'string' && !new RegExp(pattern).test(String(value)) ? `is ${String(value)}, not like ${pattern}` : '',
    typeof minimum === 'number' && Number(value) < minimum ? `is below ${minimum}` : '',
    typeof maximum === 'number' && Number(value) > maximum ? `is above ${maximum}` : '',
  ];
  return wrong.filter((each) => each !== '').map((each) => `${path} ${each}`);
}

function childProblems(root: Schema, schema: Schema, value: unknown, path: string): readonly string[] {
  if (Array.isArray(value)) {
    return value.flatMap((each, i) => problems(root, each, (schema['items'] ?? {}) as Schema, `${path}[${i}]`));
  }
  if (typeOf(value) !== 'object') {
    return [];
  }
  const properties = (schema['properties'] ?? {}) as Readonly<Record<string, Schema>>;
  const fields = Object.entries(value as Readonly<Record<string, unknown>>);
  const missing = ((schema['required'] ?? []) as readonly string[]).filter((name) => !fields.some(([each]) => each === name));
  const rest = schema['additionalProperties'];
  return [
    ...missing.map((name) => `${path}.${name} is missing`),
    ...fields.flatMap(([name, each]) => {
      const inner = properties[name] ?? (typeof rest === 'object' ? (rest as Schema) : undefined);
      return inner !== undefined
        ? problems(root, each, inner, `${path}.${name}`)
        : rest === false
          ? [`${path}.${name} is not in the schema`]
          : [];
    }),
  ];
}
