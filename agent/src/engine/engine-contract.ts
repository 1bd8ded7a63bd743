import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { FleetError } from '@fleetgate/shared/errors';
import type { Sampling } from '@fleetgate/shared/protocol/job';

import type { Engine, EngineModel, GenerateInput, GenerateResult } from './engine.js';

/** An engine under test, with a model it can load and a prompt whose greedy answer is longer than ten tokens. */
export interface EngineUnderTest {
  readonly engine: Engine;
  readonly model: EngineModel;
  readonly prompt: string;
  readonly scores: boolean;
  close(): Promise<void>;
}

const GREEDY: Sampling = { maxTokens: 60, temperature: 0, topP: 1, stop: [] };

/** What every engine must do; run by each adapter's test. */
export function describeEngine(name: string, open: () => Promise<EngineUnderTest>): void {
  describe(`${name} keeps the engine contract`, () => {
    let under: EngineUnderTest;
    const never = new AbortController().signal;

    const chat = (): GenerateInput => ({ kind: 'chat', messages: [{ role: 'user', content: under.prompt }] });

    const run = async (
      sampling: Partial<Sampling> = {},
      input = chat(),
      signal = never,
      onText: (text: string) => void = () => {},
    ): Promise<{ text: string; tokens: number; result: GenerateResult }> => {
      let text = '';
      let tokens = 0;
      const result = await under.engine.generate(
        under.model.variantId,
        input,
        { ...GREEDY, ...sampling },
        (piece, count) => {
          expect(piece).not.toBe('');
          text += piece;
          tokens += count;
          onText(piece);
        },
        signal,
      );
      return { text, tokens, result };
    };

    const codeOf = async (call: Promise<unknown>): Promise<string | undefined> => {
      const error = await call.then(
        () => undefined,
        (thrown: FleetError) => thrown,
      );
      return error?.code;
    };

    beforeAll(async () => {
      under = await open();
      await under.engine.load(under.model, never);
    });
    afterAll(async () => under.close());

    it('is ready and has a version', async () => {
      expect(under.engine.state()).toEqual({ state: 'ready' });
      expect(await under.engine.version()).not.toBe('');
    });

    it('loads a resident variant again without harm', async () => {
      const loaded = await under.engine.load(under.model, never);
      expect(loaded.memory).toBeGreaterThanOrEqual(0);
      expect(loaded.loadTime).toBeGreaterThanOrEqual(0);
    });

    it('streams a greedy answer, the same each time, and counts its tokens', async () => {
      const first = await run();
      const second = await run();
      expect(first.text.length).toBeGreaterThan(10);
      expect(second.text).toBe(first.text);
      expect(first.tokens).toBeLessThanOrEqual(first.result.outputTokens);
      expect(first.result.outputTokens).toBeGreaterThan(10);
      expect(first.result.promptTokens).toBeGreaterThan(0);
      expect(first.result.prefill).toBeGreaterThanOrEqual(0);
      expect(first.result.decode).toBeGreaterThanOrEqual(0);
      expect(first.text.startsWith(' ')).toBe(false);
    });

    it('ends with length at the most tokens asked for', async () => {
      const { result } = await run({ maxTokens: 3 });
      expect(result.finishReason).toBe('length');
      expect(result.outputTokens).toBe(3);
    });

    it('ends before a stop string, wherever it falls in the tokens', async () => {
      const whole = (await run()).text;
      for (const at of [3, 7, 12, 20]) {
        const stop = whole.slice(at, at + 5);
        const { text, result } = await run({ stop: [stop] });
        expect(text).toBe(whole.slice(0, whole.indexOf(stop)));
        expect(result.finishReason).toBe('stop');
      }
    });

    it('completes a raw prompt', async () => {
      const { result } = await run({ maxTokens: 5 }, { kind: 'complete', prompt: under.prompt });
      expect(result.outputTokens).toBeGreaterThan(0);
    });

    it('takes any Unicode prompt', async () => {
      const content = 'Wie groß ist 東京 🗼? \u0000 \uD800 ok <|endoftext|> and some more words to say';
      const { result } = await run(
        { maxTokens: 8, temperature: 1, seed: 3 },
        { kind: 'chat', messages: [{ role: 'user', content }] },
      );
      expect(result.promptTokens).toBeGreaterThan(0);
    });

    it('stops within a token or two of an abort, and works on', async () => {
      const abort = new AbortController();
      let piecesAfter = -1;
      const { result } = await run({}, chat(), abort.signal, () => {
        piecesAfter++;
        abort.abort();
      });
      expect(result.finishReason).toBe('cancelled');
      expect(piecesAfter).toBeLessThan(20);
      expect((await run({ maxTokens: 2 })).result.finishReason).toBe('length');
    });

    it('does nothing for a call that was aborted before', async () => {
      const { text, result } = await run({}, chat(), AbortSignal.abort());
      expect(text).toBe('');
      expect(result.finishReason).toBe('cancelled');
    });

    it('runs several jobs at once', async () => {
      const alone = (await run({ maxTokens: 12 })).text;
      const together = await Promise.all(Array.from({ length: 5 }, async () => run({ maxTokens: 12 })));
      expect(together.map(({ result }) => result.outputTokens)).toEqual([12, 12, 12, 12, 12]);
      expect(together.filter(({ text }) => text === alone).length).toBeGreaterThan(0);
    });

    it('refuses a prompt that is longer than the context', async () => {
      const prompt = `${under.prompt} `.repeat(200);
      expect(await codeOf(run({}, { kind: 'complete', prompt }))).toBe('request.invalid');
    });

    it('scores, or says that it cannot', async () => {
      const call = under.engine.score(under.model.variantId, under.prompt, 'The answer is 7', never);
      if (under.scores) expect((await call).bits).toBeGreaterThan(0);
      else expect(await codeOf(call)).toBe('engine.unavailable');
    });

    it('ends running jobs as cancelled when their variant is unloaded, and refuses new ones', async () => {
      let unloaded: Promise<void> | undefined;
      const { result } = await run({}, chat(), never, () => {
        unloaded ??= under.engine.unload(under.model.variantId);
      });
      await unloaded;
      expect(result.finishReason).toBe('cancelled');
      expect(await codeOf(run())).toBe('engine.unavailable');
      await under.engine.unload(under.model.variantId);
      await under.engine.load(under.model, never);
      expect((await run({ maxTokens: 2 })).result.outputTokens).toBe(2);
    });

    it('closes twice without harm and takes no calls afterwards', async () => {
      await under.engine.close();
      await under.engine.close();
      expect(await codeOf(run())).toBe('engine.unavailable');
    });
  });
}
