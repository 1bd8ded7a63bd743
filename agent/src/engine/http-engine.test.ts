import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';

import type { Engine, EngineModel, GenerateExtras, GenerateInput } from './engine.js';
import { describeEngine } from './engine-contract.js';
import { createHttpEngine } from './http-engine.js';
import { HttpTestServer } from './http-test-server.js';

const MODEL: EngineModel = {
  variantId: variantId('tiny-q4'),
  path: '',
  contextTokens: 320,
  stop: ['\nQuestion:'],
};
const PROMPT = 'one two three four five six seven eight nine ten eleven twelve';
const SAMPLING = { maxTokens: 50, temperature: 0, topP: 1, stop: [] };
const never = new AbortController().signal;

const engineFor = (server: HttpTestServer, apiKey?: string): Engine =>
  createHttpEngine({
    baseUrl: server.url,
    modelOf: () => 'tiny',
    log: silentLogger,
    ...(apiKey === undefined ? {} : { apiKey }),
  });

describeEngine('the HTTP engine', async () => {
  const server = await HttpTestServer.start();
  const engine = engineFor(server);
  return {
    engine,
    model: MODEL,
    prompt: PROMPT,
    scores: false,
    close: async () => {
      await engine.close();
      await server.close();
    },
  };
});

describe('HttpEngine', () => {
  let server: HttpTestServer;
  let engine: Engine;
  beforeEach(async () => {
    server = await HttpTestServer.start();
    engine = engineFor(server);
  });
  afterEach(async () => {
    await engine.close();
    await server.close();
  });

  const answer = async (prompt: string, sampling = {}, signal = never) => {
    let text = '';
    const result = await engine.generate(
      MODEL.variantId,
      { kind: 'chat', messages: [{ role: 'user', content: prompt }] },
      { ...SAMPLING, ...sampling },
      (piece) => (text += piece),
      signal,
    );
    return { text, result };
  };

  it.each([1, 2, 3, 7, 64])('puts a stream together that is cut every %i bytes', async (chunkBytes) => {
    server.manners.chunkBytes = chunkBytes;
    server.manners.lineEnd = chunkBytes % 2 === 0 ? '\r\n' : '\n';
    await engine.load(MODEL, never);
    const prompt = 'Grüße aus 東京 🗼👩‍👩‍👧 "quoted" \\ done';
    expect((await answer(prompt)).text).toBe(prompt);
  });

  it('asks for grammars and log-probabilities in the server’s own words', async () => {
    await engine.load(MODEL, never);
    const ask = async (input: GenerateInput, extras: GenerateExtras): Promise<unknown> => {
      await engine.generate(MODEL.variantId, input, SAMPLING, () => {}, never, extras);
      return server.bodies.at(-1);
    };
    const chat: GenerateInput = { kind: 'chat', messages: [{ role: 'user', content: 'a b' }] };
    const raw: GenerateInput = { kind: 'complete', prompt: 'a b' };
    const schema = { type: 'object' };
    expect(await ask(chat, { grammar: { kind: 'json-schema', schema } })).toMatchObject({
      response_format: { type: 'json_schema', json_schema: { strict: true, schema } },
    });
    expect(await ask(raw, { grammar: { kind: 'gbnf', text: 'root ::= "a"' } })).toMatchObject({
      grammar: 'root ::= "a"',
    });
    expect(await ask(chat, { topLogProbs: 5 })).toMatchObject({ logprobs: true, top_logprobs: 5 });
    expect(await ask(raw, { topLogProbs: 5 })).toMatchObject({ logprobs: 5 });
    const plain = await ask(chat, {});
    for (const field of ['response_format', 'grammar', 'logprobs', 'top_logprobs'])
      expect(plain).not.toHaveProperty(field);
  });

  it('takes counts and times from the server', async () => {
    server.manners.timings = true;
    await engine.load(MODEL, never);
    const { result } = await answer('a b c d', { maxTokens: 3 });
    expect(result).toEqual({ finishReason: 'length', promptTokens: 4, outputTokens: 3, prefill: 12.5, decode: 80.25 });
  });

  it('sends what was asked for, and four stop strings at most', async () => {
    await engine.load({ ...MODEL, stop: ['v', 'w', 'x'] }, never);
    await answer('hello there', { seed: 7, temperature: 0.5, topP: 0.9, stop: ['y', 'z'] });
    expect(server.bodies[0]).toMatchObject({
      model: 'tiny',
      stream: true,
      seed: 7,
      temperature: 0.5,
      top_p: 0.9,
      max_tokens: 50,
      stop: ['y', 'z', 'v', 'w'],
    });
  });

  it('applies stop strings that the server ignores, and ends its stream', async () => {
    await engine.load(MODEL, never);
    const { text, result } = await answer('alpha beta gamma delta', { stop: ['ta ga'] });
    expect(text).toBe('alpha be');
    expect(result.finishReason).toBe('stop');
  });

  it.each([
    ['error-frame', 'slot lost'],
    ['nonsense', 'no chunk'],
    ['cut', 'stream broke'],
    ['end', 'closed the stream'],
  ] as const)('reports a stream that fails midway (%s) and serves the next', async (kind, message) => {
    await engine.load(MODEL, never);
    server.manners.fault = { kind, afterTokens: 2 };
    const failed = answer('a b c d e');
    await expect(failed).rejects.toMatchObject({ code: 'engine.crashed', retryable: true });
    await expect(failed).rejects.toThrow(message);
    server.manners.fault = undefined;
    expect((await answer('a b')).text).toBe('a b');
  });

  it('waits with a load while the server loads its model', async () => {
    server.manners.loadingFor = 2;
    await engine.load(MODEL, never);
    expect((await answer('a b')).text).toBe('a b');
  });

  it('refuses a model that the server does not list, and says which it does', async () => {
    const other = createHttpEngine({ baseUrl: server.url, modelOf: () => 'huge', log: silentLogger });
    await expect(other.load(MODEL, never)).rejects.toThrow(/no model huge.*tiny:latest, other/);
    await other.close();
  });

  it('closes the connection of an aborted answer', async () => {
    await engine.load(MODEL, never);
    const abort = new AbortController();
    const input = { kind: 'complete' as const, prompt: 'w '.repeat(300) };
    const result = await engine.generate(
      MODEL.variantId,
      input,
      { ...SAMPLING, maxTokens: 300 },
      () => abort.abort(),
      abort.signal,
    );
    expect(result.finishReason).toBe('cancelled');
    await expect.poll(() => server.aborted).toBe(1);
  });

  it('sends its API key, and says when it is wrong', async () => {
    server.manners.apiKey = 'secret';
    const keyed = engineFor(server, 'secret');
    await keyed.load(MODEL, never);
    await expect(engine.load(MODEL, never)).rejects.toMatchObject({
      code: 'engine.unavailable',
      hint: expect.stringContaining('API key'),
    });
    await keyed.close();
  });

  it('is down while the server is gone, and ready again by itself', async () => {
    await engine.load(MODEL, never);
    const { port } = server;
    await server.close();
    await expect(answer('a b')).rejects.toMatchObject({ code: 'engine.unavailable', retryable: true });
    expect(engine.state()).toMatchObject({ state: 'down', reason: expect.stringContaining('cannot be reached') });
    server = await HttpTestServer.start(port);
    await expect.poll(() => engine.state().state, { timeout: 15_000 }).toBe('ready');
    expect((await answer('a b')).text).toBe('a b');
  });
});
