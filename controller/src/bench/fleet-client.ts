/** What the benchmarks ask of a running system. */
import { FleetError } from '@fleetgate/shared/errors';
import { z } from 'zod';

import type { HttpFleetClient, Refused } from './http-fleet-client.js';

export interface Answer {
  readonly requestId: string;
  readonly expert: string;
  readonly device: string;
  readonly energyJ: number;
  readonly outputTokens: number;
  /** As this client saw it. */
  readonly totalMs: number;
}

export interface StreamedAnswer extends Pick<Answer, 'requestId' | 'expert' | 'device' | 'totalMs'> {
  /** Until the first piece of text; NaN when there was none. */
  readonly firstTokenMs: number;
}

const usageSchema = z.object({
  usage: z.object({ completion_tokens: z.number(), energy_joules: z.number().optional() }),
});
const scoreSchema = z.object({ bits: z.number(), bytes: z.number(), energyJ: z.number() });

/** One greedy chat completion; throws `dispatch.no-capacity` when the fleet refuses it for good. */
export async function ask(client: HttpFleetClient, model: string, prompt: string, maxTokens: number): Promise<Answer> {
  const posted = await client.post('/v1/chat/completions', chatBody(model, prompt, maxTokens));
  if (!posted.ok) throw refusal('chat completion', posted);
  const { usage } = usageSchema.parse(await posted.response.json());
  return {
    ...whoAnswered(posted.response),
    energyJ: usage.energy_joules ?? 0,
    outputTokens: usage.completion_tokens,
    totalMs: performance.now() - posted.sentAt,
  };
}

/** As `ask`, streamed. */
export async function askStreaming(
  client: HttpFleetClient,
  model: string,
  prompt: string,
  maxTokens: number,
): Promise<StreamedAnswer> {
  const posted = await client.post('/v1/chat/completions', { ...chatBody(model, prompt, maxTokens), stream: true });
  if (!posted.ok) throw refusal('streamed chat completion', posted);
  const { response, sentAt } = posted;
  const decoder = new TextDecoder();
  let firstTokenMs = NaN;
  let text = '';
  for await (const chunk of response.body ?? []) {
    if (!Number.isNaN(firstTokenMs)) continue;
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    // Frames before the first text carry a role, or content that is empty.
    if (/"content":"[^"]/.test(text)) firstTokenMs = performance.now() - sentAt;
  }
  return { ...whoAnswered(response), firstTokenMs, totalMs: performance.now() - sentAt };
}

/**
 * Bits and bytes of a reference answer under a model, chosen among `experts` where they are given; undefined where the
 * plan serves no such expert.
 */
export async function scoreAnswer(
  client: HttpFleetClient,
  model: string,
  prompt: string,
  completion: string,
  experts?: readonly string[],
): Promise<{ readonly bits: number; readonly bytes: number; readonly energyJ: number } | undefined> {
  const wishes = experts === undefined ? {} : { fleetgate: { experts } };
  const posted = await client.post('/api/v1/score', { model, prompt, completion, ...wishes });
  if (posted.ok) return scoreSchema.parse(await posted.response.json());
  if (posted.code === 'no_capacity' || posted.code === 'model_not_found') return undefined;
  throw refusal(`score under ${model}`, posted);
}

function chatBody(model: string, prompt: string, maxTokens: number): object {
  return { model, messages: [{ role: 'user', content: prompt }], max_tokens: maxTokens, temperature: 0 };
}

function whoAnswered(response: Response): Pick<Answer, 'requestId' | 'expert' | 'device'> {
  return {
    requestId: response.headers.get('x-request-id') ?? '',
    expert: response.headers.get('x-fleetgate-expert') ?? '',
    device: response.headers.get('x-fleetgate-device') ?? '',
  };
}

function refusal(what: string, refused: Refused): FleetError {
  return new FleetError('dispatch.no-capacity', `${what}: ${refused.message}`, {
    hint: `the controller answered ${refused.status} ${refused.code}; fleetgate devices and fleetgate plan show say why`,
  });
}
