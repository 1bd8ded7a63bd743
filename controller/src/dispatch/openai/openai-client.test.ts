import { request as httpRequest } from 'node:http';

import type { RequestView } from '@fleetgate/shared/api/operations';

import OpenAI, { APIError } from 'openai';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { aDevice, type FixtureFleet } from '../dispatch-fixtures.js';
import type { Dispatcher } from '../dispatcher.js';
import type { MemoryLedger } from '../memory-ledger.js';
import type { ScriptedExpertLink, ScriptedJob } from '../scripted-expert-link.js';
import { abilities, API_KEY as KEY, openTestApi, type TestApi } from './test-api.fixture.js';
import { rejection } from './rejection.fixture.js';

const WORDS = ['two', ' and', ' two', ' is', ' four'];

function answer(job: ScriptedJob): void {
  job.accepted();
  if (job.job.kind === 'embed') {
    job.embedded(job.job.texts.map((_, i) => Buffer.from(Float32Array.of(0.6, -0.8, i).buffer).toString('base64')));
    return;
  }
  if (job.job.kind === 'score') {
    job.scored(12.5, 10);
    return;
  }
  for (const word of WORDS) job.tokens(word);
  if ('topLogProbs' in job.job) {
    const top = [{ text: ' or', logProb: -1.5 }].slice(0, job.job.topLogProbs);
    job.choices(WORDS.slice(0, 2).map((text) => ({ text, logProb: -0.5, top })));
    job.choices(WORDS.slice(2).map((text) => ({ text, logProb: -0.25, top })));
  }
  job.done('stop', { reusedTokens: 3 });
}

let behave: (job: ScriptedJob) => void;
let api: TestApi;
let dispatcher: Dispatcher;
let link: ScriptedExpertLink;
let fleet: FixtureFleet;
let ledger: MemoryLedger;
let client: OpenAI;
let base: string;

beforeEach(async () => {
  behave = answer;
  api = await openTestApi((job) => behave(job));
  ({ dispatcher, link, fleet, ledger, client, base } = api);
});

afterEach(() => api.close());

const messages = [{ role: 'user' as const, content: 'what is two and two?' }];
const extended = (fields: object): { fleetgate: object } => ({ fleetgate: fields });

const refusal = (call: Promise<unknown>): Promise<APIError> => rejection(APIError, call);

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

async function post(path: string, body: string | Buffer, contentType = 'application/json'): Promise<Response> {
  return fetch(base + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${KEY}`, 'content-type': contentType },
    body: new Uint8Array(Buffer.from(body)),
  });
}

describe('the openai client', () => {
  it('lists and retrieves models', async () => {
    const ids: string[] = [];
    for await (const model of client.models.list()) ids.push(model.id);
    expect(ids).toEqual([
      ...['auto', 'auto:eco', 'auto:fast', 'auto:best'],
      ...['cascade', 'ensemble', 'vote', 'brief'],
      'math',
      'code',
      'math-q8_0',
      'code-q8_0',
    ]);
    expect(await client.models.retrieve('auto:eco')).toMatchObject({
      id: 'auto:eco',
      object: 'model',
      owned_by: 'fleetgate',
    });
    expect(await client.models.retrieve('math-q8_0')).toMatchObject({
      meta: { n_params: 1_000_000, placed_on: ['jetson', 'pi'] },
    });
    const error = await refusal(client.models.retrieve('nobody'));
    expect([error.status, error.code, error.type]).toEqual([404, 'model_not_found', 'invalid_request_error']);
  });

  it('is told how likely the tokens of an answer were, whole, streamed and as a completion', async () => {
    const asked = { model: 'auto', messages, logprobs: true, top_logprobs: 1 };
    const whole = await client.chat.completions.create(asked);
    const { content } = whole.choices[0]?.logprobs ?? {};
    expect(content?.map(({ token, logprob }) => [token, logprob])).toEqual(
      WORDS.map((word, i) => [word, i < 2 ? -0.5 : -0.25]),
    );
    expect(content?.[1]).toEqual({
      token: ' and',
      logprob: -0.5,
      bytes: [...Buffer.from(' and')],
      top_logprobs: [{ token: ' or', logprob: -1.5, bytes: [...Buffer.from(' or')] }],
    });
    expect(whole.usage?.prompt_tokens_details?.cached_tokens).toBe(3);
    const streamed = await client.chat.completions.stream({ ...asked, stream: true }).finalChatCompletion();
    expect(streamed.choices[0]?.message.content).toBe(WORDS.join(''));
    expect(streamed.choices[0]?.logprobs?.content).toEqual(content);
    const asCompletion = { model: 'math', prompt: 'two and two', logprobs: 1 };
    const { choices } = await client.completions.create(asCompletion);
    expect(choices[0]?.logprobs).toEqual({
      tokens: WORDS,
      token_logprobs: [-0.5, -0.5, -0.25, -0.25, -0.25],
      top_logprobs: WORDS.map(() => ({ ' or': -1.5 })),
      text_offset: [0, 3, 7, 11, 14],
    });
    const offsets: number[] = [];
    for await (const chunk of await client.completions.create({ ...asCompletion, stream: true })) {
      offsets.push(...(chunk.choices[0]?.logprobs?.text_offset ?? []));
    }
    expect(offsets).toEqual([0, 3, 7, 11, 14]);
    expect((await client.chat.completions.create({ model: 'auto', messages })).choices[0]?.logprobs).toBeNull();
    expect(new Set(link.jobs.slice(0, -1).map(({ device }) => device))).toEqual(new Set(['jetson']));
  });

  it('is told in every chunk how likely the tokens of its text were, by an agent that knows it with the text', async () => {
    behave = (job) => {
      job.accepted();
      const likely = (text: string) => ({ text, logProb: -0.5, top: [{ text: ' or', logProb: -1.5 }] });
      const say = ([word, ...rest]: readonly string[]): void => {
        if (word === undefined) {
          // A token that has given no text.
          job.choices([likely('')]);
          job.done();
          return;
        }
        job.tokens(word, 1, undefined, [likely(word)]);
        setImmediate(() => say(rest));
      };
      say(WORDS);
    };
    const asked = { model: 'auto', messages, logprobs: true, top_logprobs: 1 };
    const { choices } = await client.chat.completions.create(asked);
    expect(link.jobs[0]?.job).toMatchObject({ topLogProbs: 1, choicesWithText: true });
    const content = choices[0]?.logprobs?.content;
    expect(content?.map(({ token }) => token)).toEqual([...WORDS, '']);
    const replayed = { idempotencyKey: 'told once' };
    expect((await client.chat.completions.create(asked, replayed)).choices[0]?.logprobs?.content).toEqual(content);
    expect((await client.chat.completions.create(asked, replayed)).choices[0]?.logprobs?.content).toEqual(content);
    const told: OpenAI.ChatCompletionTokenLogprob[] = [];
    let text = '';
    for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
      const [choice] = chunk.choices;
      text += choice?.delta.content ?? '';
      const tokens = choice?.logprobs?.content ?? [];
      expect(tokens.map(({ token }) => token).join('')).toBe(choice?.delta.content ?? '');
      told.push(...tokens);
    }
    expect(text).toBe(WORDS.join(''));
    expect(told).toEqual(content);
    const helped = await client.chat.completions.stream({ ...asked, stream: true }).finalChatCompletion();
    expect(helped.choices[0]?.logprobs?.content).toEqual(content);
    const asCompletion = { model: 'math', prompt: 'two and two', logprobs: 1, stream: true } as const;
    const offsets: number[] = [];
    for await (const { choices: parts } of await client.completions.create(asCompletion)) {
      const { tokens = [], text_offset = [] } = parts[0]?.logprobs ?? {};
      expect(tokens.join('')).toBe(parts[0]?.text ?? '');
      offsets.push(...text_offset);
    }
    expect(offsets).toEqual([0, 3, 7, 11, 14, 19]);
  });

  it('gets texts as vectors of one expert, in either encoding', async () => {
    const { data, response } = await client.embeddings.create({ model: 'math', input: ['a', 'b'] }).withResponse();
    expect(data.data.map(({ index, embedding }) => [index, embedding.map((one) => Number(one.toFixed(6)))])).toEqual([
      [0, [0.6, -0.8, 0]],
      [1, [0.6, -0.8, 1]],
    ]);
    expect(data).toMatchObject({ object: 'list', model: 'math-q8_0', usage: { prompt_tokens: 7, total_tokens: 7 } });
    expect(response.headers.get('x-fleetgate-device')).toBe('jetson');
    const floats = await client.embeddings.create({ model: 'math', input: 'a', encoding_format: 'float' });
    expect(floats.data[0]?.embedding[1]).toBeCloseTo(-0.8, 6);
    expect(link.jobs[0]?.job).toMatchObject({ kind: 'embed', texts: ['a', 'b'] });
    for (const [fields, param] of [
      [{ model: 'auto' }, 'model'],
      [{ input: [] }, 'input'],
      [{ input: [1, 2] }, 'input'],
      [{ dimensions: 8 }, 'dimensions'],
    ] as const) {
      const error = await refusal(client.embeddings.create({ model: 'math', input: 'a', ...fields } as never));
      expect([error.status, error.param]).toEqual([400, param]);
    }
    fleet.put(aDevice('jetson', ['math-q8_0', 'code-q8_0']));
    const cannot = await refusal(client.embeddings.create({ model: 'math', input: 'a' }));
    expect([cannot.status, cannot.param, cannot.message]).toEqual([
      400,
      'input',
      expect.stringContaining('embeddings'),
    ]);
  });

  it('has an answer kept to a form, by a device that can, and is refused where none can', async () => {
    const schema = { type: 'object', properties: { sum: { type: 'number' } } };
    const response_format = { type: 'json_schema' as const, json_schema: { name: 'sum', schema } };
    await client.chat.completions.create({ model: 'auto', messages, response_format });
    expect(link.jobs[0]).toMatchObject({ device: 'jetson', job: { grammar: { kind: 'json-schema', schema } } });
    fleet.put(aDevice('jetson', ['math-q8_0', 'code-q8_0']));
    const error = await refusal(client.chat.completions.create({ model: 'auto', messages, response_format }));
    expect([error.status, error.param]).toEqual([400, 'response_format']);
    link.behave = (job) => {
      job.accepted();
      job.failed('request.invalid', false);
    };
    fleet.put(aDevice('jetson', ['math-q8_0'], { abilities }));
    const bad = await refusal(client.chat.completions.create({ model: 'math', messages, response_format }));
    expect([bad.status, bad.type]).toEqual([400, 'invalid_request_error']);
  });

  it('gets a whole answer, with its cost and who gave it', async () => {
    const { data, response, request_id } = await client.chat.completions
      .create({ model: 'auto', messages, ...extended({ explain: true }) })
      .withResponse();
    expect(data.choices[0]).toMatchObject({
      message: { role: 'assistant', content: 'two and two is four' },
      finish_reason: 'stop',
    });
    expect(data).toMatchObject({ object: 'chat.completion', model: 'math-q8_0', fleetgate: { expertId: 'math' } });
    expect(data).toMatchObject({
      fleetgate: {
        why: expect.stringMatching(/^math on jetson: best quality|^math on jetson: highest/) as string,
        predicted: { energyJ: 5, latencyMs: 1000 },
        actual: { energyJ: 1.5, promptTokens: 7, reusedTokens: 3 },
        attempts: [{ deviceId: 'jetson', outcome: 'succeeded' }],
      },
    });
    const { fleetgate } = data as unknown as { fleetgate: RequestView };
    expect(fleetgate.candidates.map(({ expertId, deviceId, chosen }) => [expertId, deviceId, chosen])).toEqual([
      ['math', 'jetson', true],
      ['math', 'pi', false],
      ['code', 'jetson', false],
    ]);
    expect(response.headers.get('x-fleetgate-why')).toBe(fleetgate.why);
    expect(data.usage).toMatchObject({
      prompt_tokens: 7,
      completion_tokens: 3,
      total_tokens: 10,
      energy_joules: 1.5,
      energy_source: 'modelled',
    });
    expect(response.headers.get('x-fleetgate-expert')).toBe('math');
    expect(response.headers.get('x-fleetgate-variant')).toBe('math-q8_0');
    expect(response.headers.get('x-fleetgate-device')).toBe('jetson');
    expect(response.headers.get('x-fleetgate-plan')).toBe('plan-1');
    expect(response.headers.get('openai-processing-ms')).toMatch(/^\d+$/);
    const [record] = await ledger.list({ limit: 1 });
    expect(request_id).toBe(record?.id);
  });

  it('is told why with the end of a stream, and in its head', async () => {
    const { data, response } = await client.chat.completions
      .create({ model: 'auto', messages, stream: true, ...extended({ explain: true }) })
      .withResponse();
    const told: RequestView[] = [];
    for await (const chunk of data) if ('fleetgate' in chunk) told.push(chunk.fleetgate as RequestView);
    expect(told).toMatchObject([{ why: response.headers.get('x-fleetgate-why'), actual: { energyJ: 1.5 } }]);
    expect(told[0]?.candidates).toHaveLength(3);
  });

  it('gets a streamed answer', async () => {
    const stream = await client.chat.completions.create({
      model: 'math',
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant', content: '' });
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')).toBe('two and two is four');
    expect(chunks.filter((chunk) => (chunk.choices[0]?.finish_reason ?? null) !== null)).toHaveLength(1);
    expect(new Set(chunks.map(({ id, created, model, object }) => `${id} ${created} ${model} ${object}`)).size).toBe(1);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 10, energy_joules: 1.5 } });
  });

  it('is content with its own stream helper', async () => {
    const runner = client.chat.completions.stream({ model: 'auto', messages });
    const deltas: string[] = [];
    runner.on('content', (delta) => deltas.push(delta));
    const completion = await runner.finalChatCompletion();
    expect(deltas.join('')).toBe('two and two is four');
    expect(completion.choices[0]).toMatchObject({ finish_reason: 'stop', message: { role: 'assistant' } });
  });

  it('gets text completions, streamed and whole', async () => {
    const whole = await client.completions.create({ model: 'math', prompt: ['two and'], max_tokens: 5 });
    expect(whole).toMatchObject({
      object: 'text_completion',
      choices: [{ text: 'two and two is four', finish_reason: 'stop' }],
    });
    expect(link.jobs[0]?.job).toMatchObject({ kind: 'complete', prompt: 'two and', sampling: { maxTokens: 5 } });
    const stream = await client.completions.create({ model: 'math', prompt: 'two and', stream: true });
    let text = '';
    for await (const chunk of stream) text += chunk.choices[0]?.text ?? '';
    expect(text).toBe('two and two is four');
  });

  it('gets several answers, whole and streamed, with what they cost together', async () => {
    let count = 0;
    link.behave = (job) => {
      count += 1;
      job.accepted();
      for (const word of ['answer', ` ${count}`]) job.tokens(word);
      job.done(count % 3 === 0 ? 'length' : 'stop');
    };
    const asked = { model: 'auto', messages, n: 3, seed: 5 };
    const { data, request_id } = await client.chat.completions.create(asked).withResponse();
    expect(data.choices).toMatchObject([
      { index: 0, message: { content: 'answer 1' }, finish_reason: 'stop' },
      { index: 1, message: { content: 'answer 2' }, finish_reason: 'stop' },
      { index: 2, message: { content: 'answer 3' }, finish_reason: 'length' },
    ]);
    expect(data.usage).toMatchObject({ completion_tokens: 9, total_tokens: 30, energy_joules: 4.5 });
    expect(link.jobs.map(({ job }) => job)).toMatchObject([5, 6, 7].map((seed) => ({ sampling: { seed } })));
    expect((await ledger.list({ limit: 9 })).map(({ id }) => id)).toContain(request_id);
    count = 0;
    const stream = client.chat.completions.stream({ ...asked, stream_options: { include_usage: true } });
    const streamed = await stream.finalChatCompletion();
    expect(streamed.choices.map(({ message }) => message.content)).toEqual(['answer 1', 'answer 2', 'answer 3']);
    expect(streamed.usage).toMatchObject({ total_tokens: 30, energy_joules: 4.5 });
    const texts = (await client.completions.create({ model: 'math', prompt: 'a', n: 2 })).choices;
    expect(texts.map(({ index, text }) => `${index} ${text}`)).toEqual(['0 answer 4', '1 answer 5']);
  });

  it.each([false, true])('gets one error where one of several answers fails (streamed: %s)', async (stream) => {
    link.behave = (job) => {
      job.accepted();
      if (link.jobs.length === 2 && link.jobs[1] === job) job.failed('request.invalid', false);
    };
    const error = await refusal(client.chat.completions.create({ model: 'auto', messages, n: 2, stream }));
    expect([error.status, error.type]).toEqual([400, 'invalid_request_error']);
    await until(() => link.cancelled.length === 1);
    expect(dispatcher.inFlight).toBe(0);
    link.behave = (job) => {
      job.accepted();
      job.tokens('half');
      if (link.jobs.indexOf(job) === 3) fleet.offline('jetson');
    };
    const lost = client.chat.completions.stream({ model: 'auto', messages, n: 2 }).finalChatCompletion();
    expect(await refusal(lost)).toMatchObject({ code: 'device_lost' });
    expect(dispatcher.inFlight).toBe(0);
  });

  it('stops the device when it aborts', async () => {
    link.behave = (job) => {
      job.accepted();
      job.tokens('two');
    };
    const stream = await client.chat.completions.create({ model: 'auto', messages, stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content === 'two') break;
    }
    await until(() => link.cancelled.length > 0);
    expect(link.cancelled[0]).toMatchObject({ device: 'jetson', job: link.jobs[0]?.job.jobId });
    expect(dispatcher.inFlight).toBe(0);
    expect((await ledger.list({ limit: 1 }))[0]).toMatchObject({ state: 'cancelled' });

    const whole = new AbortController();
    const call = client.chat.completions.create({ model: 'auto', messages }, { signal: whole.signal });
    await until(() => link.jobs.length === 2);
    whole.abort();
    await expect(call).rejects.toThrow('aborted');
    await until(() => link.cancelled.length === 2);
  });

  it('is told of a device that is lost in the middle of an answer', async () => {
    link.behave = (job) => {
      job.accepted();
      job.tokens('two');
      fleet.offline('jetson');
    };
    const stream = await client.chat.completions.create({ model: 'auto', messages, stream: true });
    let text = '';
    const error = await refusal(
      (async () => {
        for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
      })(),
    );
    expect(text).toBe('two');
    expect(error).toMatchObject({ code: 'device_lost', type: 'server_error' });
  });

  it('never notices a device that is lost before', async () => {
    link.behave = (job) => {
      job.accepted();
      if (job.device === 'jetson') fleet.offline('jetson');
      else answer(job);
    };
    const { response } = await client.chat.completions.create({ model: 'auto', messages, stream: true }).withResponse();
    expect(response.headers.get('x-fleetgate-device')).toBe('pi');
    await response.body?.cancel();
  });

  it('reads every refusal', async () => {
    const chat = (fields: object) =>
      refusal(client.chat.completions.create({ model: 'auto', messages, ...(fields as { temperature: number }) }));
    const facts = ({ status, code, type, param }: APIError) => [status, code, type, param];
    expect(facts(await chat({ temperature: 9 }))).toEqual([
      400,
      'request.invalid',
      'invalid_request_error',
      'temperature',
    ]);
    expect(facts(await chat({ n: 9 }))).toEqual([400, 'request.invalid', 'invalid_request_error', 'n']);
    expect(facts(await chat({ messages: [] }))).toEqual([400, 'request.invalid', 'invalid_request_error', 'messages']);
    expect(facts(await chat({ messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }))[3]).toBe(
      'messages.0.content.0.type',
    );
    expect((await chat({ model: 'nobody' })).headers?.get('x-fleetgate-why')).toMatch(/^refused: .*nobody/);
    expect(facts(await chat({ model: 'nobody' }))).toEqual([404, 'model_not_found', 'invalid_request_error', 'model']);
    const dear = await chat(extended({ energyJ: 0.001 }));
    expect(facts(dear)).toEqual([429, 'energy_budget_exceeded', 'rate_limit_error', 'fleetgate.energyJ']);
    expect(dear.headers?.get('x-should-retry')).toBe('false');
    api.policy = undefined;
    const loading = await chat({});
    expect(facts(loading)).toEqual([503, 'model_loading', 'server_error', null]);
    expect(Number(loading.headers?.get('retry-after'))).toBeLessThanOrEqual(30);
    expect(loading.requestID).toMatch(/^req-/);
    const stranger = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'wrong', maxRetries: 0 });
    const unknown = await refusal(stranger.models.list());
    expect(facts(unknown)).toEqual([401, 'invalid_api_key', 'authentication_error', null]);
  });

  it('tries again what may succeed, and nothing else', async () => {
    const patient = new OpenAI({ baseURL: `${base}/v1`, apiKey: KEY, maxRetries: 2 });
    let calls = 0;
    link.behave = (job) => {
      calls += 1;
      job.accepted();
      if (calls <= 2) job.failed('engine.crashed');
      else answer(job);
    };
    // Both devices fail the first request; the client's second one succeeds.
    const answered = await patient.chat.completions.create({ model: 'math', messages });
    expect(answered.choices[0]?.message.content).toBe('two and two is four');
    expect(dispatcher.stats.accepted).toBe(2);
    await refusal(patient.chat.completions.create({ model: 'auto', messages, ...extended({ energyJ: 0.001 }) }));
    expect(dispatcher.stats.accepted).toBe(3);
  });
});

/** The official client sends `idempotencyKey` only where it is told the header's name. */
class KeyedOpenAI extends OpenAI {
  protected override idempotencyHeader = 'Idempotency-Key';
}

describe('a client that names its requests', () => {
  const keyed = () => new KeyedOpenAI({ baseURL: `${base}/v1`, apiKey: KEY, maxRetries: 0 });
  const replayed = (response: Response) => response.headers.get('idempotent-replayed');

  it('gets the answer that it was given, whole', async () => {
    const ask = (idempotencyKey: string) =>
      keyed().chat.completions.create({ model: 'auto', messages }, { idempotencyKey }).withResponse();
    const [first, again] = [await ask('a'), await ask('a')];
    expect(again.data).toEqual(first.data);
    expect(again.request_id).toBe(first.request_id);
    expect([replayed(first.response), replayed(again.response)]).toEqual([null, 'true']);
    expect(link.jobs).toHaveLength(1);
    const other = await ask('b');
    expect(other.request_id).not.toBe(first.request_id);
    expect(link.jobs).toHaveLength(2);
  });

  it('gets the answer that it was given, as a stream, as vectors and as a completion', async () => {
    const asked = { model: 'math', prompt: 'two and', stream: true } as const;
    const stream = async () => {
      const { data, response } = await keyed().completions.create(asked, { idempotencyKey: 's' }).withResponse();
      let text = '';
      const ids = new Set<string>();
      for await (const chunk of data) {
        text += chunk.choices[0]?.text ?? '';
        ids.add(`${chunk.id} ${chunk.created}`);
      }
      return { text, ids, replayed: replayed(response) };
    };
    const first = await stream();
    expect(await stream()).toEqual({ ...first, replayed: 'true' });
    const vectors = () => keyed().embeddings.create({ model: 'math', input: 'a' }, { idempotencyKey: 'v' });
    expect(await vectors()).toEqual(await vectors());
    expect(link.jobs).toHaveLength(2);
  });

  it('follows an answer that is being given, which goes on until nobody waits', async () => {
    link.behave = (job) => {
      job.accepted();
      job.tokens('two');
    };
    const client2 = keyed();
    const ask = async () => {
      const abort = new AbortController();
      const stream = await client2.chat.completions.create(
        { model: 'auto', messages, stream: true },
        { idempotencyKey: 'f', signal: abort.signal },
      );
      return { abort, stream };
    };
    const first = await ask();
    const second = await ask();
    const third = await ask();
    first.abort.abort();
    await until(() => link.jobs.length === 1);
    link.jobs[0]?.tokens(' more');
    let text = '';
    for await (const chunk of second.stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      if (text === 'two more') break;
    }
    expect(link.cancelled).toHaveLength(0);
    third.abort.abort();
    await until(() => link.cancelled.length === 1);
    // What was stopped is not answered: the same request is a new one.
    link.behave = answer;
    const anew = await client2.chat.completions.create(
      { model: 'auto', messages, stream: true },
      { idempotencyKey: 'f' },
    );
    text = '';
    for await (const chunk of anew) text += chunk.choices[0]?.delta.content ?? '';
    expect(text).toBe('two and two is four');
  });

  it('is refused a key that means something else, and a key that is none', async () => {
    await keyed().chat.completions.create({ model: 'auto', messages }, { idempotencyKey: 'r' });
    const other = await refusal(
      keyed().chat.completions.create({ model: 'auto', messages, temperature: 1.5 }, { idempotencyKey: 'r' }),
    );
    expect([other.status, other.code, other.headers?.get('x-should-retry')]).toEqual([
      422,
      'idempotency_key_reused',
      'false',
    ]);
    for (const idempotencyKey of ['x'.repeat(256), 'caf\u00e9']) {
      const bad = await refusal(keyed().chat.completions.create({ model: 'auto', messages }, { idempotencyKey }));
      expect([bad.status, bad.param]).toEqual([400, 'Idempotency-Key']);
    }
  });

  it('is answered when it tries again what failed', async () => {
    const ask = () => keyed().chat.completions.create({ model: 'auto', messages }, { idempotencyKey: 't' });
    const plan = api.policy;
    api.policy = undefined;
    expect((await refusal(ask())).status).toBe(503);
    api.policy = plan;
    link.behave = (job) => {
      job.accepted();
      job.tokens('two');
      fleet.offline('jetson');
      fleet.offline('pi');
    };
    expect((await refusal(ask())).code).toBe('device_lost');
    fleet.online('jetson');
    link.behave = answer;
    expect((await ask()).choices[0]?.message.content).toBe('two and two is four');
  });
});

describe('what the client cannot send', () => {
  const body = async (response: Response): Promise<unknown> => response.json();

  it.each<[string, string | Buffer, number]>([
    ['no JSON', '{"model":', 400],
    ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 400],
    ['nothing', '', 400],
    ['a list', '[]', 400],
    ['10 MB', `{"model":"auto","messages":"${'x'.repeat(10_000_000)}"}`, 413],
    ['300 KB in one message', JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: ' ' }] }), 400],
  ])('answers a body that is %s', async (_what, text, status) => {
    const response = await post('/v1/chat/completions', text).catch(() => undefined);
    // The server may close the connection while the client is still sending: also an answer, but not to look at.
    if (response === undefined) return;
    expect(response.status).toBe(status);
    expect(await body(response)).toMatchObject({ error: { type: 'invalid_request_error' } });
    expect(response.headers.get('x-request-id')).not.toBeNull();
  });

  it('answers unknown routes and content types in the same envelope', async () => {
    const nowhere = await post('/v1/assistants', '{}');
    expect(nowhere.status).toBe(404);
    expect(await body(nowhere)).toMatchObject({ error: { code: 'unknown_url' } });
    const form = await post('/v1/chat/completions', '<a/>', 'text/xml');
    expect(form.status).toBe(415);
    expect(await body(form)).toMatchObject({ error: { code: 'unsupported_media_type' } });
  });

  it('scores a given answer', async () => {
    const response = await post('/api/v1/score', JSON.stringify({ model: 'code', prompt: 'a', completion: 'b' }));
    expect(await body(response)).toMatchObject({
      bits: 12.5,
      bytes: 10,
      expert: 'code',
      variant: 'code-q8_0',
      device: 'jetson',
    });
  });

  it('sends exact frames', async () => {
    const request = { model: 'auto', messages, stream: true };
    const response = await post('/v1/chat/completions', JSON.stringify(request));
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(response.headers.get('cache-control')).toContain('no-cache');
    expect(response.headers.get('x-accel-buffering')).toBe('no');
    const frames = (await response.text()).split('\n\n');
    expect(frames.at(-2)).toBe('data: [DONE]');
    expect(frames.at(-1)).toBe('');
    expect(frames.slice(0, -2).every((frame) => frame.startsWith('data: {'))).toBe(true);
  });

  it('survives a client that goes away while it sends its request', async () => {
    await new Promise<void>((resolve) => {
      const half = httpRequest(`${base}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json', 'content-length': 1000 },
      });
      half.on('error', () => resolve());
      half.on('close', () => resolve());
      half.write('{"model"');
      half.flushHeaders();
      setImmediate(() => half.destroy());
    });
    const again = await client.chat.completions.create({ model: 'auto', messages });
    expect(again.choices).toHaveLength(1);
  });
});
