import type { TenantLimits } from '@fleetgate/shared/api/access';
import { ManualClock, systemClock } from '@fleetgate/shared/clock';
import { systemRandom } from '@fleetgate/shared/random';
import OpenAI from 'openai';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { KeyRing } from '../../access/key-ring.js';
import { MemoryKeyStore } from '../../access/key-store.fixture.js';
import { RateLimits } from '../../access/rate-limits.js';
import type { ScriptedJob } from '../scripted-expert-link.js';
import { openTestApi, type TestApi } from './test-api.fixture.js';

const messages = [{ role: 'user' as const, content: 'What is 2 + 2?' }];
let clock: ManualClock;
let keys: KeyRing;
let rates: RateLimits;
let api: TestApi;
let behave: (job: ScriptedJob) => void;

beforeEach(async () => {
  clock = new ManualClock();
  keys = new KeyRing(
    { store: new MemoryKeyStore(), clock: systemClock, random: systemRandom },
    { keys: [], uses: new Map() },
  );
  rates = new RateLimits(clock);
  behave = (job) => {
    job.accepted();
    job.tokens('four', 1);
    job.done('stop', { outputTokens: 7 });
  };
  api = await openTestApi((job) => behave(job), { keys, rates });
});
afterEach(() => api.close());

const clientOf = async (tenant?: string, headers: Record<string, string> = {}) => {
  const { id, key } = await keys.add({ label: 'test', scopes: ['infer'], tenant });
  const client = new OpenAI({ baseURL: `${api.base}/v1`, apiKey: key, maxRetries: 0, defaultHeaders: headers });
  return { id, key, client };
};
const limit = (requestsPerMinute: number | null, outputTokensPerMinute: number | null = null): void => {
  const limits: TenantLimits = { requestsPerMinute, outputTokensPerMinute };
  rates.set('acme', limits);
};
const ask = async (client: OpenAI, more: object = {}): Promise<Response> =>
  client.chat.completions.create({ model: 'math', messages, max_tokens: 100, ...more }).asResponse();
const left = (of: 'requests' | 'tokens'): string | undefined => rates.headersFor('acme')[`x-ratelimit-remaining-${of}`];
const failure = async (promise: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> => {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof OpenAI.APIError) return error;
  throw new Error(`expected a refusal, got ${String(error)}`);
};

describe('a client with a key of a tenant', () => {
  it('counts for its tenant, whatever it calls itself; without one, for whom it names', async () => {
    limit(3);
    const [own, foreign, free] = [await clientOf('acme'), await clientOf('other'), await clientOf()];
    await ask(own.client, { user: 'other' });
    expect(left('requests')).toBe('2');
    await ask(foreign.client, { user: 'acme' });
    expect(left('requests')).toBe('2');
    await ask(free.client, { user: 'acme' });
    expect(left('requests')).toBe('1');
    await ask(api.client, { user: 'acme' });
    expect(left('requests')).toBe('0');
  });

  it('is told of its limits with every answer, whole, streamed, as vectors and refused', async () => {
    limit(4, 1000);
    const { client } = await clientOf('acme');
    const whole = await ask(client);
    expect(whole.headers.get('x-ratelimit-remaining-requests')).toBe('3');
    expect(whole.headers.get('x-ratelimit-remaining-tokens')).toBe('900');
    await whole.text();
    const streamed = await ask(client, { stream: true });
    expect(streamed.headers.get('x-ratelimit-limit-requests')).toBe('4');
    expect(streamed.headers.get('x-ratelimit-remaining-requests')).toBe('2');
    await streamed.text();
    behave = (job) => {
      job.accepted();
      job.embedded([Buffer.from(Float32Array.of(0.5).buffer).toString('base64')]);
    };
    const vectors = await client.embeddings.create({ model: 'math', input: 'a' }).withResponse();
    expect(vectors.response.headers.get('x-ratelimit-remaining-requests')).toBe('1');
    expect((await failure(ask(client, { model: 'nobody' }))).headers?.get('x-ratelimit-remaining-requests')).toBe('0');
    const refused = await failure(ask(client));
    expect([refused.status, refused.code, refused.type]).toEqual([429, 'rate_limit_exceeded', 'rate_limit_error']);
    expect(refused.headers?.get('retry-after')).toBe('15');
    expect(refused.headers?.get('x-should-retry')).toBe('true');
    expect(refused.headers?.get('x-ratelimit-remaining-requests')).toBe('0');
    expect(refused.headers?.get('x-ratelimit-reset-requests')).toBe('1m0s');
    clock.advance(15_000);
    await client.embeddings.create({ model: 'math', input: 'a' });
  });

  it('pays for the tokens that its answers had, each of them, and none for those it had before', async () => {
    limit(null, 1000);
    const { client } = await clientOf('acme', { 'Idempotency-Key': 'again' });
    await (await ask(client, { n: 3 })).text();
    expect(left('tokens')).toBe('979');
    const again = await ask(client, { n: 3 });
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    await again.text();
    expect(left('tokens')).toBe('979');
    expect((await failure(ask(client, { n: 2 }))).code).toBe('idempotency_key_reused');
    expect(left('tokens')).toBe('979');
    api.policy = undefined;
    const fresh = await clientOf('acme');
    expect((await failure(ask(fresh.client))).status).toBe(503);
    expect(left('tokens')).toBe('979');
  });

  it('that goes away pays for what was taken, until its device says what it used', async () => {
    limit(null, 1000);
    behave = (job) => {
      job.accepted();
      job.tokens('four');
    };
    const { client } = await clientOf('acme');
    const abort = new AbortController();
    const stream = await client.chat.completions.create(
      { model: 'math', messages, max_tokens: 600, stream: true },
      { signal: abort.signal },
    );
    for await (const _ of stream) break;
    abort.abort();
    while (api.link.cancelled.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(left('tokens')).toBe('400');
    expect((await failure(ask(client, { max_tokens: 500 }))).status).toBe(429);
    api.link.jobs[0]?.done('cancelled', { outputTokens: 2 });
    expect(left('tokens')).toBe('998');
  });

  it('loses the answers under way when its key is revoked, which stops the devices', async () => {
    behave = (job) => {
      job.accepted();
      job.tokens('four');
    };
    const [doomed, spared] = [await clientOf('acme'), await clientOf('acme')];
    const open = (client: OpenAI) => client.chat.completions.create({ model: 'auto', messages, stream: true });
    const [ending, staying] = [await open(doomed.client), await open(spared.client)];
    const texts = staying[Symbol.asyncIterator]();
    await texts.next();
    await keys.revoke(doomed.id);
    const drain = async (): Promise<void> => {
      for await (const _ of ending);
    };
    await expect(drain()).rejects.toThrow();
    while (api.link.cancelled.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(api.link.cancelled).toHaveLength(1);
    for (const job of api.link.jobs) job.done();
    let last: Awaited<ReturnType<typeof texts.next>>['value'];
    for (let next = await texts.next(); next.done !== true; next = await texts.next()) last = next.value;
    expect(last?.choices[0]?.finish_reason).toBe('stop');
    expect((await failure(ask(doomed.client))).status).toBe(401);
  });

  it('has names of requests for itself: another key has others', async () => {
    const named = { 'Idempotency-Key': 'same' };
    const [one, two] = [await clientOf('acme', named), await clientOf('acme', named)];
    const replayed = async (client: OpenAI) => (await ask(client)).headers.get('idempotent-replayed');
    expect([await replayed(one.client), await replayed(two.client)]).toEqual([null, null]);
    const asAnthropic = await fetch(`${api.base}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'x-api-key': one.key, 'content-type': 'application/json', ...named },
      body: JSON.stringify({ model: 'math', messages, max_tokens: 100 }),
    });
    expect(asAnthropic.headers.get('idempotent-replayed')).toBe('true');
  });
});
