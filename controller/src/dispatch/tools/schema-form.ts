import { alternatives, isSchema, propertiesOf, requiredOf, resolved, takesNull } from './json-schema.js';
import type { JsonSchema } from './tool.js';

/** Engines write counts out, and refuse more. */
const MOST_COUNT = 2000;
const COUNTS = ['minItems', 'maxItems', 'minLength', 'maxLength'] as const;
/** Forms of text that engines know. */
const FORMATS: ReadonlySet<unknown> = new Set(['date-time', 'time', 'date']);
const LEAVES = [{ type: 'string' }, { type: 'number' }, { type: 'boolean' }, { type: 'null' }] as const;
const ANY_OBJECT = { type: 'object', additionalProperties: true };
/** Any value of JSON. Engines take a schema that says nothing for `null`. */
const ANYTHING = { oneOf: [...LEAVES, ANY_OBJECT, { type: 'array', items: { oneOf: [...LEAVES, ANY_OBJECT] } }] };

/** A schema in the words that engines keep answers within, and the definitions that it refers to at the root. */
export interface SchemaForm {
  readonly schema: JsonSchema;
  readonly definitions: Readonly<Record<string, JsonSchema>>;
}

/**
 * What keeps an answer within a schema. `prefix` keeps its definitions apart from those of other schemas beside it.
 *
 * Engines make a model fill in every property that an object has. What is not required may therefore be `null` here, which
 * `withoutAbsent` takes away. What engines do not know (patterns, ranges, `allOf` beyond its first object) is left open.
 */
export function formOf(root: JsonSchema, prefix: string): SchemaForm {
  const named = (map: '$defs' | 'definitions'): [string, JsonSchema][] =>
    Object.entries(isSchema(root[map]) ? root[map] : {}).map(([name, inner]) => [
      `${prefix}${name}`,
      inner === true || !isSchema(inner) ? ANYTHING : form(inner, root, prefix),
    ]);
  return {
    schema: form(root, root, prefix),
    definitions: Object.fromEntries([...named('definitions'), ...named('$defs')]),
  };
}

function form(schema: unknown, root: JsonSchema, prefix: string): JsonSchema {
  if (!isSchema(schema)) return ANYTHING;
  const { type, $ref: reference, allOf } = schema;
  if (typeof reference === 'string') {
    if (resolved(schema, root) === undefined) return ANYTHING;
    return { $ref: `#/$defs/${prefix}${reference.slice(reference.lastIndexOf('/') + 1)}` };
  }
  if ('const' in schema) return { const: schema['const'] };
  if (Array.isArray(schema['enum'])) return { enum: schema['enum'] };
  const kinds = alternatives(schema);
  if (kinds !== undefined) return { oneOf: kinds.map((kind) => form(kind, root, prefix)) };
  if (Array.isArray(allOf)) return form(allOf.find(isSchema), root, prefix);
  if (type === 'object' || (type === undefined && 'properties' in schema)) return objectForm(schema, root, prefix);
  if (type === 'array' || (type === undefined && 'items' in schema)) {
    const { items, prefixItems } = schema;
    return {
      type: 'array',
      ...counts(schema),
      ...(Array.isArray(prefixItems) ? { prefixItems: prefixItems.map((one) => form(one, root, prefix)) } : {}),
      items: form(items, root, prefix),
    };
  }
  if (type === 'string' && FORMATS.has(schema['format'])) return { type, format: schema['format'] };
  return type === undefined ? ANYTHING : { type, ...counts(schema) };
}

function objectForm(schema: JsonSchema, root: JsonSchema, prefix: string): JsonSchema {
  const properties = Object.entries(propertiesOf(schema));
  const { additionalProperties: others } = schema;
  const isMap = properties.length === 0 && (isSchema(others) || (others !== false && !('properties' in schema)));
  if (isMap) return { type: 'object', additionalProperties: isSchema(others) ? form(others, root, prefix) : true };
  const required = requiredOf(schema);
  return {
    type: 'object',
    properties: Object.fromEntries(
      properties.map(([name, inner]) => {
        const value = form(inner, root, prefix);
        const isOpen = required.has(name) || !isSchema(inner) || takesNull(inner, root);
        return [name, isOpen ? value : { oneOf: [value, { type: 'null' }] }];
      }),
    ),
    required: properties.map(([name]) => name),
    additionalProperties: false,
  };
}

function counts(schema: JsonSchema): Record<string, number> {
  const told: Record<string, number> = {};
  for (const name of COUNTS) {
    const count = schema[name];
    if (typeof count === 'number' && count >= 0 && count < MOST_COUNT) told[name] = count;
  }
  return told;
}

/** Unions within unions are looked into this far: one may hold itself. */
const MOST_UNIONS = 8;

/** A value without the properties that are `null` for not being given. Only for what is not nested too deep. */
export function withoutAbsent(value: unknown, schema: unknown, root: JsonSchema, unions = 0): unknown {
  if (typeof value !== 'object' || value === null || !isSchema(schema) || unions > MOST_UNIONS) return value;
  const found = resolved(schema, root);
  if (found === undefined) return value;
  if (Array.isArray(value)) return value.map((one: unknown) => withoutAbsent(one, found['items'], root));
  const kinds = alternatives(found);
  if (kinds !== undefined) {
    const kind = kinds.find((one) =>
      Object.keys(value).every((name) => Object.hasOwn(propertiesOf(resolved(one, root) ?? {}), name)),
    );
    return withoutAbsent(value, kind, root, unions + 1);
  }
  const properties = propertiesOf(found);
  const required = requiredOf(found);
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name, inner]) => {
        const kind = properties[name];
        return inner !== null || required.has(name) || !isSchema(kind) || takesNull(kind, root);
      })
      .map(([name, inner]) => [name, withoutAbsent(inner, properties[name], root)]),
  );
}
