import { type Grammar, MOST_SCHEMA_DEPTH, schemaDepth } from '@fleetgate/shared/protocol/grammar';
import { MOST_TOP_LOG_PROBS } from '@fleetgate/shared/protocol/job';
import { z } from 'zod';

import { invalid } from './invalid-field.js';

/** `logprobs` of /v1/completions counts alternatives; OpenAI's own bound. */
const MOST_COMPLETION_LOG_PROBS = 5;

/** Any JSON object, with little space between: a small model would fill the answer with it. */
const JSON_OBJECT = String.raw`
root ::= object
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws (member ("," ws member)*)? "}" ws
member ::= string ":" ws value
array ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F]))* "\"" ws
number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [-+]? [0-9]+)? ws
ws ::= (" " | "\n")?
`.trim();

const responseFormat = z.discriminatedUnion(
  'type',
  [
    z.object({ type: z.literal('text') }),
    z.object({ type: z.literal('json_object') }),
    z.object({
      type: z.literal('json_schema'),
      json_schema: z.object({ schema: z.record(z.string(), z.unknown(), 'expected a JSON schema') }),
    }),
  ],
  'expected the type text, json_object or json_schema',
);

/** Fields of both endpoints: `grammar` is llama.cpp's extension. */
export const formFields = {
  response_format: responseFormat.nullish(),
  grammar: z.string('expected a grammar (GBNF)').nullish(),
};

export const chatLogProbs = {
  logprobs: z.boolean('expected true or false').nullish(),
  top_logprobs: z.number().int().min(0, topRange()).max(MOST_TOP_LOG_PROBS, topRange()).nullish(),
};

export const completionLogProbs = {
  logprobs: z.number().int().min(0, 'expected 0 to 5').max(MOST_COMPLETION_LOG_PROBS, 'expected 0 to 5').nullish(),
};

type FormFields = z.infer<z.ZodObject<typeof formFields>>;

/** What the answer has to be like; undefined: any text. Throws `request.invalid`. */
export function grammarOf({ response_format: format, grammar }: FormFields): Grammar | undefined {
  const named = grammar == null || grammar === '' ? undefined : grammar;
  if (format == null || format.type === 'text') return named === undefined ? undefined : { kind: 'gbnf', text: named };
  if (named !== undefined) throw invalid('grammar', 'expected either a grammar or a response_format');
  if (format.type === 'json_object') return { kind: 'gbnf', text: JSON_OBJECT };
  const { schema } = format.json_schema;
  if (schemaDepth(schema) > MOST_SCHEMA_DEPTH) {
    throw invalid(
      'response_format.json_schema.schema',
      `nested deeper than ${MOST_SCHEMA_DEPTH} levels, expected less`,
    );
  }
  return { kind: 'json-schema', schema };
}

/** How many likeliest tokens a chat is to tell in place of each of the answer's; undefined: nothing is told. */
export function topLogProbsOf({
  logprobs,
  top_logprobs: top,
}: z.infer<z.ZodObject<typeof chatLogProbs>>): number | undefined {
  if (logprobs === true) return top ?? 0;
  if (top != null) throw invalid('top_logprobs', 'expected logprobs to be true as well');
  return undefined;
}

function topRange(): string {
  return `expected 0 to ${MOST_TOP_LOG_PROBS}`;
}
