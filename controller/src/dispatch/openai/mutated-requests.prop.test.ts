import { silentLogger } from '@fleetgate/shared/logger';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type JsonObject, mutatedJson } from '../../platform/mutated-json.fixture.js';
import type { ScriptedJob } from '../scripted-expert-link.js';
import { OPEN_DOOR, openTestApi, type TestApi } from './test-api.fixture.js';

const messages = [
  { role: 'system', content: 'be short' },
  { role: 'user', content: [{ type: 'text', text: 'two and two?' }] },
];
const schema = {
  type: 'object',
  properties: { a: { enum: ['x', 1] }, b: { type: 'array', items: { type: 'number' } } },
};
const BODIES: Readonly<Record<string, readonly JsonObject[]>> = {
  '/v1/chat/completions': [
    {
      model: 'auto',
      messages,
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 8,
      temperature: 0.5,
      top_p: 0.9,
      seed: 7,
      stop: ['end'],
      logprobs: true,
      top_logprobs: 2,
      fleetgate: { energyJ: 50, latencyMs: 60_000, mode: 'eco', maxCalls: 2, experts: ['math'], explain: true },
    },
    { model: 'math', messages, n: 1, response_format: { type: 'json_schema', json_schema: { name: 'a', schema } } },
    { model: 'code', messages, response_format: { type: 'json_object' }, max_completion_tokens: 4, user: 'u' },
    { model: 'math', messages, grammar: 'root ::= "yes" | "no"' },
  ],
  '/v1/completions': [
    { model: 'math', prompt: 'two and', max_tokens: 4, logprobs: 1, echo: false, stop: 'x', suffix: null },
  ],
  '/v1/embeddings': [{ model: 'math', input: ['one', 'two'], encoding_format: 'base64', dimensions: null }],
  '/api/v1/score': [{ model: 'auto', prompt: 'two', completion: 'four', mode: 'eco' }],
};

let api: TestApi;
const failures: unknown[] = [];

beforeAll(async () => {
  api = await openTestApi(answer, {
    ...OPEN_DOOR,
    log: { ...silentLogger, error: (...told) => void failures.push(told) },
  });
});
afterAll(() => api.close());

function answer(job: ScriptedJob): void {
  job.accepted();
  if (job.job.kind === 'embed') job.embedded(job.job.texts.map(() => Buffer.alloc(12).toString('base64')));
  else if (job.job.kind === 'score') job.scored(12.5, 10);
  else if (job.job.kind === 'mix') job.failed('engine.unavailable', false);
  else {
    job.tokens('four');
    if ('topLogProbs' in job.job) job.choices([{ text: 'four', logProb: -0.5, top: [] }]);
    job.done();
  }
}

describe('a body with faults', () => {
  it.each(Object.entries(BODIES))('is answered or refused by %s, and never fails it', async (path, documents) => {
    await fc.assert(
      fc.asyncProperty(mutatedJson(documents), async (body) => {
        const response = await fetch(`http://127.0.0.1:${api.port}${path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: new Uint8Array(body),
        });
        const text = await response.text();
        expect(response.status, text.slice(0, 500)).not.toBe(500);
        expect(text).not.toContain('internal_error');
        if (response.status >= 400)
          expect(JSON.parse(text)).toMatchObject({ error: { message: expect.any(String) as string } });
        expect(failures).toEqual([]);
      }),
      { numRuns: 300 },
    );
    expect(api.dispatcher.inFlight).toBe(0);
  });
});
