import { FleetError } from '@fleetgate/shared/errors';
import { MOST_EMBEDDED_TEXTS } from '@fleetgate/shared/protocol/job';
import { z } from 'zod';

import type { DispatchedRequest } from '../dispatcher.js';
import { VIRTUAL_MODELS } from '../model-target.js';
import type { Prompt } from '../prompt.js';
import type { Choice } from '../request-events.js';
import { invalid } from './invalid-field.js';
import { modelField, read, wishesOf, wishFields } from './schema.js';

const text = z.string('expected text').min(1, 'expected some text');

const embeddingsSchema = z.object({
  model: modelField,
  input: z.union(
    [
      text,
      z
        .array(text)
        .min(1, 'expected at least one text')
        .max(MOST_EMBEDDED_TEXTS, `expected at most ${MOST_EMBEDDED_TEXTS} texts`),
    ],
    `expected some text, or a list of 1 to ${MOST_EMBEDDED_TEXTS} texts`,
  ),
  encoding_format: z.enum(['float', 'base64'], 'expected float or base64').nullish(),
  dimensions: z.null('only the model’s own dimensions are supported').optional(),
  fleetgate: wishFields,
});

export interface EmbeddingsRequest {
  readonly prompt: Prompt;
  readonly format: 'float' | 'base64';
}

/** Body of POST /v1/embeddings. Throws `request.invalid` naming the field; unknown fields are ignored. */
export function parseEmbeddings(body: unknown): EmbeddingsRequest {
  const { model, input, encoding_format: format, fleetgate } = read(embeddingsSchema, body);
  if (VIRTUAL_MODELS.has(model)) {
    const what = `vectors of different experts cannot be compared: expected one expert or variant, not ${model}`;
    throw invalid('model', what);
  }
  return {
    prompt: {
      endpoint: '/v1/embeddings',
      model,
      ...wishesOf(model, fleetgate ?? {}),
      input: { kind: 'embed', texts: typeof input === 'string' ? [input] : input },
      sampling: { maxTokens: 1, temperature: 0, topP: 1, stop: [] },
    },
    format: format ?? 'float',
  };
}

/** The vectors when all are there. Throws what it failed with. */
export async function embeddingsAnswer(
  { format }: EmbeddingsRequest,
  dispatched: DispatchedRequest,
): Promise<{ readonly choice: Choice; readonly body: object }> {
  const vectors: string[] = [];
  for await (const event of dispatched.events) {
    if (event.kind === 'failed') throw event.error;
    if (event.kind === 'done') throw new FleetError('internal.invariant', 'an embed job was answered with text');
    if (event.kind === 'vectors') vectors.push(...event.vectors);
    if (event.kind !== 'embedded') continue;
    const { choice, usage } = event;
    const { promptTokens, energyJ, energySource } = usage;
    const body = {
      object: 'list',
      data: vectors.map((vector, index) => ({
        object: 'embedding',
        index,
        embedding: format === 'base64' ? vector : numbersOf(vector),
      })),
      model: choice.variantId,
      usage: {
        prompt_tokens: promptTokens,
        total_tokens: promptTokens,
        energy_joules: dispatched.record().actual?.energyJ ?? energyJ,
        energy_source: energySource,
      },
    };
    return { choice, body };
  }
  throw new FleetError('internal.invariant', 'an answer ended without its end');
}

/** Little-endian float32 in base64. */
function numbersOf(vector: string): readonly number[] {
  const bytes = Buffer.from(vector, 'base64');
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}
