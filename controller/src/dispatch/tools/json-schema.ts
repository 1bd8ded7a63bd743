import type { JsonSchema } from './tool.js';

const TYPES: ReadonlySet<unknown> = new Set(['object', 'array', 'string', 'number', 'integer', 'boolean', 'null']);
const UNIONS = ['anyOf', 'oneOf', 'allOf'] as const;
const MAPS = ['properties', '$defs', 'definitions'] as const;
const REFERENCE = /^#\/(\$defs|definitions)\/(.+)$/;
/** A definition that only refers to another one is followed this far. */
const MOST_HOPS = 8;

export function isSchema(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * What makes a value no JSON schema, and where in it; undefined for a schema. Looks at the keywords that say what a value is
 * made of; others are the client's business. Only for what is not nested too deep.
 */
export function schemaFault(schema: unknown, path = ''): string | undefined {
  const at = path === '' ? '' : `${path}: `;
  if (typeof schema === 'boolean' && path !== '') return undefined;
  if (!isSchema(schema)) return `${at}expected a JSON schema, got ${shown(schema)}`;
  const { type, required, items, prefixItems, additionalProperties } = schema;
  const faults = [
    () => typeFault(type, at),
    () => requiredFault(required, at),
    () => (schema['enum'] === undefined || isFilled(schema['enum']) ? undefined : `${at}expected enum to be a list`),
    () =>
      schema['$ref'] === undefined || typeof schema['$ref'] === 'string' ? undefined : `${at}expected $ref as text`,
    ...MAPS.map((name) => () => mapFault(schema[name], join(path, name))),
    ...UNIONS.map((name) => () => (schema[name] === undefined ? undefined : listFault(schema[name], join(path, name)))),
    () => (prefixItems === undefined ? undefined : listFault(prefixItems, join(path, 'prefixItems'))),
    () => (items === undefined || Array.isArray(items) ? undefined : schemaFault(items, join(path, 'items'))),
    () =>
      additionalProperties === undefined
        ? undefined
        : schemaFault(additionalProperties, join(path, 'additionalProperties')),
  ];
  for (const fault of faults) {
    const found = fault();
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What `$ref` stands for, else the schema itself; undefined for a reference to nothing that is known. */
export function resolved(schema: JsonSchema, root: JsonSchema): JsonSchema | undefined {
  let found: unknown = schema;
  for (let hop = 0; hop < MOST_HOPS; hop++) {
    if (!isSchema(found)) return undefined;
    if (typeof found['$ref'] !== 'string') return found;
    const [, map = '', name = ''] = REFERENCE.exec(found['$ref']) ?? [];
    const definitions = root[map];
    found = isSchema(definitions) ? definitions[name] : undefined;
  }
  return undefined;
}

/** The kinds of which a value is to be one; undefined where the schema is no union of schemas. */
export function alternatives(schema: JsonSchema): readonly JsonSchema[] | undefined {
  const union = schema['anyOf'] ?? schema['oneOf'];
  if (Array.isArray(union)) return union.filter(isSchema);
  const { type } = schema;
  return Array.isArray(type) ? type.map((one: unknown) => ({ ...schema, type: one })) : undefined;
}

/** Whether `null` is a value of it. */
export function takesNull(schema: JsonSchema, root: JsonSchema): boolean {
  const found = resolved(schema, root);
  if (found === undefined) return true;
  const { type } = found;
  if (Array.isArray(found['enum'])) return found['enum'].includes(null);
  if ('const' in found) return found['const'] === null;
  const union = found['anyOf'] ?? found['oneOf'];
  // A union that refers to itself says nothing more by being followed.
  if (Array.isArray(union))
    return union.some((one) => isSchema(one) && (one['type'] === 'null' || one['const'] === null));
  if (type === undefined) return !['properties', 'items', 'allOf'].some((name) => name in found);
  return type === 'null' || (Array.isArray(type) && type.includes('null'));
}

export function requiredOf(schema: JsonSchema): ReadonlySet<unknown> {
  return new Set(Array.isArray(schema['required']) ? schema['required'] : []);
}

export function propertiesOf(schema: JsonSchema): Readonly<Record<string, unknown>> {
  return isSchema(schema['properties']) ? schema['properties'] : {};
}

function typeFault(type: unknown, at: string): string | undefined {
  if (type === undefined) return undefined;
  const types: readonly unknown[] = Array.isArray(type) ? type : [type];
  const unknown = types.find((one) => !TYPES.has(one));
  if (types.length > 0 && unknown === undefined) return undefined;
  return `${at}expected a type of JSON, got ${shown(types.length === 0 ? type : unknown)}`;
}

function requiredFault(required: unknown, at: string): string | undefined {
  if (required === undefined) return undefined;
  if (Array.isArray(required) && required.every((name) => typeof name === 'string')) return undefined;
  return `${at}expected required to be a list of names`;
}

function mapFault(map: unknown, path: string): string | undefined {
  if (map === undefined) return undefined;
  if (!isSchema(map)) return `${path}: expected schemas by name, got ${shown(map)}`;
  for (const [name, inner] of Object.entries(map)) {
    const fault = schemaFault(inner, join(path, name));
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function listFault(list: unknown, path: string): string | undefined {
  if (!isFilled(list)) return `${path}: expected a list of schemas, got ${shown(list)}`;
  for (const [at, inner] of list.entries()) {
    const fault = schemaFault(inner, join(path, String(at)));
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function isFilled(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) && value.length > 0;
}

const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`);

function shown(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  return (JSON.stringify(value) ?? String(value)).slice(0, 40);
}
