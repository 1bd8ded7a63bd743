import type { Sampling } from '@fleetgate/shared/protocol/job';
import { joules, milliseconds } from '@fleetgate/shared/units/quantity';
import { z } from 'zod';

import { collaborationOf, VIRTUAL_MODELS } from '../model-target.js';
import { COLLABORATIONS, MODES, neededAbilities, type Prompt, type PromptInput } from '../prompt.js';
import { callGrammar } from '../tools/tool-grammar.js';
import type { ToolOffer } from '../tools/tool.js';
import { completionLogProbs, formFields, grammarOf } from './answer-form.js';
import type { FieldNames } from './field-names.js';
import { invalid } from './invalid-field.js';

/** OpenAI's own default of /v1/completions. */
const DEFAULT_COMPLETION_TOKENS = 16;
/** Beyond every context that a device could hold. */
const MOST_TOKENS = 131_072;
const MOST_STOPS = 16;
/** Experts that one request may ask, by its own wish. */
const MOST_CALLS = 32;
const MOST_EXPERTS = 100;
const MOST_TENANT_CHARS = 256;
/** Answers to one request; each is dispatched as a request of its own. */
const MOST_ANSWERS = 8;

/** A read request: what to dispatch, and how the client wants to be answered. */
export interface ParsedRequest {
  readonly prompt: Prompt;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly explain: boolean;
  /** How many answers are asked for. */
  readonly answers: number;
  /** What the answer may call. */
  readonly offer: ToolOffer | undefined;
  readonly fieldNames: FieldNames;
}

export const modelField = z.string('expected the name of a model').min(1, 'expected the name of a model').max(200);
const text = z.string('expected text');
export const tokenLimit = z.number().int().min(1, 'expected at least 1').nullish();

/** `auto:eco` is understood as the mode `eco`. */
const mode = z
  .string()
  .transform((value) => value.replace(/^auto:/, ''))
  .pipe(z.enum([...MODES, ...COLLABORATIONS], `expected one of ${[...MODES, ...COLLABORATIONS].join(', ')}`));

/** What a client may wish of the choice of experts. */
export const wishFields = z
  .object({
    energyJ: z.number().positive('expected more than 0 J').nullish(),
    latencyMs: z.number().positive('expected more than 0 ms').nullish(),
    maxCalls: z
      .number()
      .int()
      .min(1, 'expected at least 1')
      .max(MOST_CALLS, `expected at most ${MOST_CALLS}`)
      .nullish(),
    mode: mode.nullish(),
    experts: z
      .array(z.string().min(1).max(200))
      .min(1, 'expected at least one expert')
      .max(MOST_EXPERTS, `expected at most ${MOST_EXPERTS}`)
      .nullish(),
    explain: z.boolean().nullish(),
  })
  .nullish();

export const sharedFields = {
  model: modelField,
  max_tokens: tokenLimit,
  temperature: z.number().min(0, 'expected 0 to 2').max(2, 'expected 0 to 2').nullish(),
  top_p: z.number().min(0, 'expected 0 to 1').max(1, 'expected 0 to 1').nullish(),
  n: z
    .number()
    .int('expected a whole number')
    .min(1, `expected 1 to ${MOST_ANSWERS}`)
    .max(MOST_ANSWERS, `expected 1 to ${MOST_ANSWERS}`)
    .nullish(),
  seed: z.number().int('expected a whole number').nullish(),
  stop: z
    .union([text, z.array(text).max(MOST_STOPS, `expected at most ${MOST_STOPS}`)], 'expected text or a list of texts')
    .nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  ...formFields,
  /** Whom budgets of a tenant count for. */
  user: z.string().max(MOST_TENANT_CHARS, `expected at most ${MOST_TENANT_CHARS} characters`).nullish(),
  fleetgate: wishFields,
};

const completionSchema = z.object({
  ...sharedFields,
  prompt: z.union([text, z.array(text).length(1)], 'expected text, or a list of one text'),
  ...completionLogProbs,
});

const scoreSchema = z.object({
  model: modelField,
  prompt: text,
  completion: text.min(1, 'expected some text'),
  fleetgate: wishFields,
});

/** Body of POST /v1/completions. */
export function parseCompletion(body: unknown): ParsedRequest {
  const request = read(completionSchema, body);
  const prompt = Array.isArray(request.prompt) ? (request.prompt[0] ?? '') : request.prompt;
  if (prompt === '') throw invalid('prompt', 'expected some text');
  const maxTokens = request.max_tokens ?? DEFAULT_COMPLETION_TOKENS;
  const asked = { input: { kind: 'complete' as const, prompt }, maxTokens, topLogProbs: request.logprobs ?? undefined };
  return openRequest('/v1/completions', request, asked);
}

/** Body of POST /api/v1/score. */
export function parseScore(body: unknown): Prompt {
  const { model: name, prompt, completion, fleetgate: wishes } = read(scoreSchema, body);
  return {
    endpoint: '/api/v1/score',
    model: name,
    ...wishesOf(name, wishes ?? {}),
    input: { kind: 'score', prompt, completion },
    sampling: { maxTokens: 1, temperature: 0, topP: 1, stop: [] },
  };
}

export type SharedFields = z.infer<z.ZodObject<typeof sharedFields>>;

/** What of a request is not in the fields that all endpoints share. */
export interface Asked {
  readonly input: PromptInput;
  readonly maxTokens: number;
  readonly topLogProbs?: number | undefined;
  readonly offer?: ToolOffer | undefined;
}

/** A request whose fields have been read. Throws `request.invalid` for fields that do not go together. */
export function openRequest(
  endpoint: string,
  request: SharedFields,
  { input, maxTokens, topLogProbs, offer }: Asked,
): ParsedRequest {
  const wishes = request.fleetgate ?? {};
  const calls = offer === undefined ? undefined : callGrammar(offer);
  const grammar = calls ?? grammarOf(request);
  const formField = calls === undefined ? 'response_format' : 'tool_choice';
  if (offer !== undefined && calls === undefined && grammar !== undefined) {
    const what = 'an answer that may be a call cannot be kept to a form: expected tool_choice none or required';
    throw invalid(formField, what);
  }
  const answers = request.n ?? 1;
  if (wishes.maxCalls != null && wishes.maxCalls < answers) {
    throw invalid('n', `${answers} answers take at least as many calls, more than fleetgate.maxCalls allows`);
  }
  const wished = wishesOf(request.model, wishes);
  const prompt: Prompt = {
    endpoint,
    model: request.model,
    ...wished,
    ...(request.user == null || request.user === '' ? {} : { tenant: request.user }),
    // Several experts put texts together, not calls: they are asked only where the client says so.
    ...(offer === undefined || wishes.maxCalls != null ? {} : { limits: { ...wished.limits, calls: 1 } }),
    input,
    sampling: samplingOf(request, maxTokens),
    ...(topLogProbs === undefined ? {} : { topLogProbs }),
    ...(grammar === undefined ? {} : { grammar }),
  };
  const together = collaborationOf(prompt);
  if (together !== undefined && (neededAbilities(prompt).length > 0 || offer !== undefined)) {
    const field = offer !== undefined ? 'tools' : grammar === undefined ? 'logprobs' : formField;
    throw invalid(
      field,
      `${together} puts the answer of several experts together, for which that is not known: expected one expert`,
    );
  }
  return {
    prompt,
    stream: request.stream === true,
    includeUsage: request.stream_options?.include_usage === true,
    explain: wishes.explain === true,
    answers,
    offer,
    // Dispatch knows of a grammar only, not of what has asked for it.
    fieldNames: calls === undefined ? {} : { response_format: 'tool_choice' },
  };
}

/** What a client wants of the choice of experts. */
export function wishesOf(
  model: string,
  wishes: NonNullable<z.infer<typeof wishFields>>,
): Pick<Prompt, 'mode' | 'collaboration' | 'experts' | 'limits'> {
  return {
    ...modeOf(model, wishes.mode ?? undefined),
    ...(wishes.experts == null ? {} : { experts: wishes.experts }),
    limits: {
      energy: wishes.energyJ == null ? undefined : joules(wishes.energyJ),
      latency: wishes.latencyMs == null ? undefined : milliseconds(wishes.latencyMs),
      ...(wishes.maxCalls == null ? {} : { calls: wishes.maxCalls }),
    },
  };
}

/** Throws `request.invalid` for a way of answering together that would have only one expert to ask. */
function modeOf(model: string, asked: z.infer<typeof mode> | undefined): Pick<Prompt, 'mode' | 'collaboration'> {
  const collaboration = COLLABORATIONS.find((one) => one === asked);
  if (collaboration === undefined) return { mode: MODES.find((one) => one === asked) };
  if (VIRTUAL_MODELS.has(model)) return { mode: undefined, collaboration };
  throw invalid('fleetgate.mode', `${collaboration} asks several experts: use it with model auto, not ${model}`);
}

function samplingOf(request: SharedFields, maxTokens: number): Sampling {
  // A nucleus of nothing leaves the most probable token, which is what temperature 0 takes.
  const greedy = request.top_p === 0;
  const stop = typeof request.stop === 'string' ? [request.stop] : (request.stop ?? []);
  return {
    maxTokens: Math.min(maxTokens, MOST_TOKENS),
    temperature: greedy ? 0 : (request.temperature ?? 1),
    topP: greedy ? 1 : (request.top_p ?? 1),
    ...(request.seed == null ? {} : { seed: request.seed }),
    stop: stop.filter((one) => one !== ''),
  };
}

/** Throws `request.invalid` naming the field. */
export function read<T>(schema: z.ZodType<T>, value: unknown, path: readonly PropertyKey[] = []): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const param = [...path, ...(issue?.path ?? [])].map(String).join('.');
  throw invalid(param === '' ? null : param, issue?.message ?? 'not understood');
}
