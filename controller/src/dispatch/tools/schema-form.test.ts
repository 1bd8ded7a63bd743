import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { schemaFault } from './json-schema.js';
import { formOf, withoutAbsent } from './schema-form.js';
import { callGrammar } from './tool-grammar.js';

describe('schemaFault', () => {
  it.each<[unknown, string | undefined]>([
    [{}, undefined],
    [{ type: 'object', properties: { a: true, b: { type: ['string', 'null'] } }, required: ['a'] }, undefined],
    [{ $defs: { a: { enum: [1] } }, anyOf: [{ $ref: '#/$defs/a' }] }, undefined],
    [7, 'expected a JSON schema, got 7'],
    [{ type: 'text' }, 'expected a type of JSON, got "text"'],
    [{ properties: { a: { type: 'strng' } } }, 'properties.a: expected a type of JSON, got "strng"'],
    [{ properties: [] }, 'properties: expected schemas by name, got a list'],
    [{ required: true }, 'expected required to be a list of names'],
    [{ items: 'string' }, 'items: expected a JSON schema, got "string"'],
    [{ anyOf: [] }, 'anyOf: expected a list of schemas, got a list'],
    [{ oneOf: [{ type: 1 }] }, 'oneOf.0: expected a type of JSON, got 1'],
    [{ enum: 'a' }, 'expected enum to be a list'],
  ])('finds in %j: %s', (schema, fault) => {
    expect(schemaFault(schema)).toBe(fault);
  });
});

describe('formOf', () => {
  const form = (schema: object) => formOf(schema as Record<string, unknown>, 't_').schema;

  it('says in the words of engines what a schema says', () => {
    expect(form({ type: ['string', 'null'], pattern: 'x' })).toEqual({ oneOf: [{ type: 'string' }, { type: 'null' }] });
    expect(form({ anyOf: [{ const: 1 }, { enum: ['a'] }] })).toEqual({ oneOf: [{ const: 1 }, { enum: ['a'] }] });
    expect(form({ type: 'string', format: 'uri', maxLength: 9000 })).toEqual({ type: 'string' });
    expect(form({ type: 'object', additionalProperties: { type: 'number' } })).toEqual({
      type: 'object',
      additionalProperties: { type: 'number' },
    });
    expect(form({ type: 'array', items: { type: 'integer' }, minItems: 1 })).toEqual({
      type: 'array',
      items: { type: 'integer' },
      minItems: 1,
    });
    expect(form({})).toMatchObject({ oneOf: expect.anything() });
  });

  it('lets what is not required be null, and takes that away again', () => {
    const schema = {
      type: 'object',
      properties: {
        a: { type: 'string' },
        b: { type: 'number' },
        c: { type: ['number', 'null'] },
        d: { $ref: '#/$defs/d' },
      },
      required: ['a'],
      $defs: { d: { type: 'object', properties: { e: { type: 'string' }, d: { $ref: '#/$defs/d' } } } },
    };
    const { schema: read, definitions } = formOf(schema, 't0_');
    expect(read).toMatchObject({
      properties: { a: { type: 'string' }, b: { oneOf: [{ type: 'number' }, { type: 'null' }] } },
      required: ['a', 'b', 'c', 'd'],
    });
    expect(Object.keys(definitions)).toEqual(['t0_d']);
    const value = { a: 'x', b: null, c: null, d: { e: null, d: { e: 'y', d: null } } };
    expect(withoutAbsent(value, schema, schema)).toEqual({ a: 'x', c: null, d: { d: { e: 'y' } } });
  });

  it('ends for schemas that hold themselves', () => {
    const self = { anyOf: [{ $ref: '#/$defs/self' }, { type: 'string' }], $defs: { self: { $ref: '#/$defs/self' } } };
    expect(form(self)).toMatchObject({ oneOf: [expect.anything(), { type: 'string' }] });
    expect(withoutAbsent({}, self, self)).toEqual({});
    const loop = { $ref: '#/$defs/a', $defs: { a: { anyOf: [{ $ref: '#/$defs/a' }] } } };
    expect(withoutAbsent({}, loop, loop)).toEqual({});
  });

  it('takes whatever has no fault', () => {
    fc.assert(
      fc.property(
        fc.object({ key: fc.constantFrom('type', 'properties', 'items', 'anyOf', '$ref', 'required', 'a') }),
        (schema) => {
          if (schemaFault(schema) !== undefined) return;
          formOf(schema, 't_');
          withoutAbsent({ a: { a: null } }, schema, schema);
        },
      ),
    );
  });
});

describe('callGrammar', () => {
  const tools = ['a', 'b'].map((name) => ({ name, parameters: { type: 'object', properties: {} } }));

  it('keeps an answer to calls where one has to be made, of the tool that was named', () => {
    expect(callGrammar({ tools, choice: 'auto', parallel: true })).toBeUndefined();
    expect(callGrammar({ tools, choice: { name: 'b' }, parallel: true })).toMatchObject({
      schema: { type: 'object', properties: { name: { const: 'b' } } },
    });
    const names = { oneOf: [{ properties: { name: { const: 'a' } } }, { properties: { name: { const: 'b' } } }] };
    expect(callGrammar({ tools, choice: 'required', parallel: false })).toMatchObject({ schema: names });
    expect(callGrammar({ tools, choice: 'required', parallel: true })).toMatchObject({
      schema: { oneOf: [{}, { type: 'array', minItems: 1 }], $defs: { call: names } },
    });
  });
});
