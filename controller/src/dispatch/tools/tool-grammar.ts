import type { Grammar } from '@fleetgate/shared/protocol/grammar';

import { formOf } from './schema-form.js';
import { type JsonSchema, MOST_CALLS, type ToolOffer } from './tool.js';

/** What an answer has to be like that is to be a call; undefined where it may be words. */
export function callGrammar({ tools, choice, parallel }: ToolOffer): Grammar | undefined {
  if (choice === 'auto') return undefined;
  const allowed = choice === 'required' ? tools : tools.filter(({ name }) => name === choice.name);
  const definitions: Record<string, JsonSchema> = {};
  const calls = allowed.map(({ name, parameters }, at): JsonSchema => {
    const form = formOf(parameters, `t${at}_`);
    Object.assign(definitions, form.definitions);
    return {
      type: 'object',
      properties: { name: { const: name }, arguments: form.schema },
      required: ['name', 'arguments'],
      additionalProperties: false,
    };
  });
  const one: JsonSchema = calls.length === 1 ? { ...calls[0] } : { oneOf: calls };
  const isOne = !parallel || choice !== 'required';
  // Each alternative of a list would be written out once more: definitions say it once.
  const call = isOne ? one : { $ref: '#/$defs/call' };
  const schema = isOne ? one : { oneOf: [call, { type: 'array', items: call, minItems: 1, maxItems: MOST_CALLS }] };
  const defs = isOne ? definitions : { ...definitions, call: one };
  return { kind: 'json-schema', schema: Object.keys(defs).length === 0 ? schema : { ...schema, $defs: defs } };
}
