import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { FleetError } from '@fleetgate/shared/errors';
import type { Sampling } from '@fleetgate/shared/protocol/job';

import type {
  Engine,
  EngineModel,
  GenerateInput,
  GenerateResult,
  Grammar,
  MixOptions,
  MixResult,
  MixStep,
} from './engine.js';

/** An engine under test, with a model it can load and a prompt whose greedy answer is longer than ten tokens. */
export interface EngineUnderTest {
  readonly engine: Engine;
  readonly model: EngineModel;
  readonly prompt: string;
  /** Whether it scores and mixes. */
  readonly scores: boolean;
  /** Whether it keeps answers within grammars; absent where that is up to a server. */
  readonly knowsGrammars?: boolean;
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

    const likeliest = async ({ next }: MixStep): Promise<number> => next.ids[0] ?? -1;

    const mix = async (
      options: Partial<MixOptions> = {},
      choose = likeliest,
      signal = never,
    ): Promise<{ text: string; steps: MixStep[]; result: MixResult }> => {
      const steps: MixStep[] = [];
      const result = await under.engine.mix(
        under.model.variantId,
        { input: chat(), topK: 40, maxTokens: GREEDY.maxTokens, stop: [], ...options },
        async (step) => {
          steps.push(step);
          return choose(step);
        },
        signal,
      );
      return { text: [...steps, result].map(({ text }) => text).join(''), steps, result };
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

    it('answers the same when it has evaluated the beginning of a prompt before, and when it has not', async () => {
      const longer: GenerateInput = { kind: 'chat', messages: [{ role: 'user', content: `${under.prompt} Tell me.` }] };
      const first = await run({}, longer);
      await run({}, { kind: 'complete', prompt: 'Something else altogether' });
      await run();
      const again = await run({}, longer);
      const thrice = await run({}, longer);
      expect([again.text, thrice.text]).toEqual([first.text, first.text]);
      expect(thrice.result.reusedTokens ?? 0).toBeLessThan(thrice.result.promptTokens);
      expect(thrice.result.promptTokens).toBe(first.result.promptTokens);
    });

    it('keeps an answer within a grammar or a schema, refuses what is none, or says that it cannot', async () => {
      const { engine, model } = under;
      const answered = async (grammar: Grammar): Promise<string> => {
        let text = '';
        const onText = (piece: string): void => void (text += piece);
        await engine.generate(model.variantId, chat(), { ...GREEDY, maxTokens: 60 }, onText, never, { grammar });
        return text;
      };
      const yesOrNo: Grammar = { kind: 'gbnf', text: 'root ::= "yes" | "no"' };
      if (!under.knowsGrammars) {
        if (under.knowsGrammars === false) expect(await codeOf(answered(yesOrNo))).toBe('engine.unavailable');
        return;
      }
      expect(['yes', 'no']).toContain(await answered(yesOrNo));
      const schema = { type: 'object', properties: { sure: { type: 'boolean' } } };
      expect(JSON.parse(await answered({ kind: 'json-schema', schema }))).toEqual({ sure: expect.any(Boolean) });
      expect(await codeOf(answered({ kind: 'gbnf', text: 'root ::= (' }))).toBe('request.invalid');
      let deep: Record<string, unknown> = { type: 'string' };
      for (let level = 0; level < 200; level++) deep = { type: 'array', items: deep };
      expect(await codeOf(answered({ kind: 'json-schema', schema: deep }))).toBe('request.invalid');
      const nested = `root ::= ${'('.repeat(20_000)}"a"${')'.repeat(20_000)}`;
      expect(await codeOf(answered({ kind: 'gbnf', text: nested }))).toBe('request.invalid');
      const brackets = `root ::= "${'('.repeat(20)}" [${'('.repeat(200)}] # ${'('.repeat(200)}`;
      expect(await answered({ kind: 'gbnf', text: brackets })).toBe('('.repeat(21));
      expect(await codeOf(answered({ kind: 'gbnf', text: 'root ::= (("a"{1,1000} "b"){1,1000} "c"){1,1000}' }))).toBe(
        'request.invalid',
      );
      expect((await run()).text.length).toBeGreaterThan(10);
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

    it('gives to several jobs at once what it gives to each alone', async () => {
      const inputs = ['', ' Why?', ' Tell me more.', ' Be brief.', ' In a word?'].map((more): GenerateInput => {
        return { kind: 'chat', messages: [{ role: 'user', content: `${under.prompt}${more}` }] };
      });
      const alone: string[] = [];
      for (const input of inputs) alone.push((await run({ maxTokens: 12 }, input)).text);
      const together = await Promise.all(inputs.map(async (input) => run({ maxTokens: 12 }, input)));
      expect(together.map(({ text }) => text)).toEqual(alone);
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

    it('scores in detail: the same bits, token by token', async () => {
      if (!under.scores) return;
      const of = (detail?: 'tokens') =>
        under.engine.score(under.model.variantId, under.prompt, 'It is 7', never, detail);
      const { promptBits, tokenBits = [], bits, scoredTokens } = await of('tokens');
      const plain = await of();
      expect(plain).not.toHaveProperty('tokenBits');
      expect(plain).not.toHaveProperty('promptBits');
      expect(promptBits).toBeGreaterThan(0);
      expect(tokenBits).toHaveLength(scoredTokens);
      expect(tokenBits.reduce((sum, one) => sum + one, 0)).toBeCloseTo(bits, 6);
      expect(Math.abs(bits - plain.bits)).toBeLessThan(0.01 * bits);
    });

    it('tells how sure it was of an answer, when asked', async () => {
      expect((await run()).result).not.toHaveProperty('meanLogProb');
      const signal = never;
      for (const temperature of [0, 1.2]) {
        const sampling = { ...GREEDY, temperature, topP: 0.9, seed: 5, maxTokens: 20 };
        const { engine, model } = under;
        const result = await engine.generate(model.variantId, chat(), sampling, () => {}, signal, { confidence: true });
        expect(result.meanLogProb).toBeLessThan(0);
        expect(result.meanLogProb).toBeGreaterThan(-15);
      }
    });

    it('gives texts as unit vectors in their order, the same for the same text', async () => {
      const { engine, model, prompt } = under;
      const embed = (texts: readonly string[], signal = never) => engine.embed(model.variantId, texts, signal);
      const { vectors, promptTokens } = await embed([prompt, 'The moon is far away.', prompt]);
      expect(vectors).toHaveLength(3);
      expect(promptTokens).toBeGreaterThan(3);
      for (const vector of vectors) {
        expect(vector.reduce((sum, one) => sum + one * one, 0)).toBeCloseTo(1, 5);
        expect(vector).toHaveLength(vectors[0]?.length ?? -1);
      }
      const likeness = (a = 0, b = 0): number =>
        (vectors[a] ?? []).reduce((sum, one, i) => sum + one * (vectors[b]?.[i] ?? 0), 0);
      expect(likeness(0, 2)).toBeCloseTo(1, 5);
      expect(likeness(0, 1)).toBeLessThan(0.9999);
      const [answer, beside] = await Promise.all([run({ maxTokens: 12 }), embed([prompt])]);
      expect(answer.text).toBe((await run({ maxTokens: 12 })).text);
      for (const [i, value] of (beside.vectors[0] ?? []).entries())
        expect(value).toBeCloseTo(vectors[0]?.[i] ?? NaN, 4);
      expect((await embed([])).vectors).toEqual([]);
    });

    it('refuses to embed what does not fit, and stops when aborted', async () => {
      const { engine, model, prompt } = under;
      const embed = (text: string, signal = never) => codeOf(engine.embed(model.variantId, [prompt, text], signal));
      expect(await embed(`${prompt} `.repeat(200))).toBe('request.invalid');
      expect(await embed(prompt, AbortSignal.abort())).toBe('job.cancelled');
      expect(await embed(prompt)).toBeUndefined();
    });

    it.each(['chat', 'complete'] as const)(
      'tells how likely each token was, and what the likeliest were (%s)',
      async (kind) => {
        const { engine, model, prompt } = under;
        let text = '';
        const onText = (piece: string): void => void (text += piece);
        const extras = { confidence: true, topLogProbs: 3 };
        const sampling = { ...GREEDY, maxTokens: 12 };
        const input = kind === 'chat' ? chat() : { kind, prompt };
        const told = await engine.generate(model.variantId, input, sampling, onText, never, extras);
        const { choices = [] } = told;
        expect(choices).toHaveLength(told.outputTokens);
        const said = choices.map((choice) => choice.text).join('');
        expect(said.trim()).toBe(text.trim());
        // Greedy: each is the likeliest.
        for (const { text: word, logProb, top } of choices) {
          expect(top.length).toBeGreaterThan(0);
          expect(top.length).toBeLessThanOrEqual(3);
          expect(top[0]?.text).toBe(word);
          expect(top[0]?.logProb).toBeCloseTo(logProb, 3);
          expect(top.map((one) => one.logProb)).toEqual(top.map((one) => one.logProb).toSorted((a, b) => b - a));
          expect(top.reduce((sum, one) => sum + Math.exp(one.logProb), 0)).toBeLessThanOrEqual(1.000_001);
        }
        const mean = choices.reduce((sum, { logProb }) => sum + logProb, 0) / choices.length;
        expect(told.meanLogProb).toBeCloseTo(mean, 4);
        const more = engine.generate(model.variantId, input, GREEDY, () => {}, never, { topLogProbs: 21 });
        expect(await codeOf(more)).toBe('request.invalid');
      },
    );

    it('mixes, or says that it cannot', async () => {
      if (under.scores) expect((await mix()).result.outputTokens).toBeGreaterThan(10);
      else expect(await codeOf(mix())).toBe('engine.unavailable');
    });

    it('gives the greedy answer when the likeliest token is always chosen, with its probabilities', async () => {
      if (!under.scores) return;
      const { engine, model } = under;
      let greedy = '';
      const onText = (text: string): void => void (greedy += text);
      const told = await engine.generate(model.variantId, chat(), GREEDY, onText, never, { confidence: true });
      const { text, steps, result } = await mix();
      expect(text).toBe(greedy);
      expect(result).toMatchObject({
        finishReason: told.finishReason,
        promptTokens: told.promptTokens,
        outputTokens: told.outputTokens,
      });
      expect(steps.map(({ step }) => step)).toEqual(steps.map((_, i) => i));
      expect(steps.map(({ promptBits }) => promptBits !== undefined)).toEqual(steps.map((_, i) => i === 0));
      expect(steps[0]?.promptBits).toBeGreaterThan(0);
      for (const { next } of steps) {
        expect(next.ids.length).toBe(next.logProbs.length);
        expect(next.ids.length).toBeLessThanOrEqual(40);
        expect([...next.logProbs].sort((a, b) => b - a)).toEqual(next.logProbs);
        expect(next.logProbs.reduce((sum, one) => sum + Math.exp(one), next.restProb)).toBeCloseTo(1, 4);
      }
      const chosen = steps.slice(0, told.outputTokens).map(({ next }) => next.logProbs[0] ?? NaN);
      const mean = chosen.reduce((sum, one) => sum + one, 0) / chosen.length;
      expect(Math.abs(mean - (told.meanLogProb ?? NaN))).toBeLessThan(0.01);
    });

    it('ends a mixed answer at its length, and before a stop string', async () => {
      if (!under.scores) return;
      const short = await mix({ maxTokens: 3, topK: 1 });
      expect(short.result).toMatchObject({ finishReason: 'length', outputTokens: 3 });
      expect(short.steps).toHaveLength(3);
      expect(short.steps[0]?.next.ids).toHaveLength(1);
      const whole = (await mix()).text;
      const stop = whole.slice(7, 12);
      const { text, result } = await mix({ stop: [stop] });
      expect(text).toBe(whole.slice(0, whole.indexOf(stop)));
      expect(result.finishReason).toBe('stop');
    });

    it('ends a mixed answer whose chooser is gone: aborted, failed, or wrong', async () => {
      if (!under.scores) return;
      const abort = new AbortController();
      const aborted = await mix({}, () => (abort.abort(), new Promise(() => {})), abort.signal);
      expect(aborted.result).toMatchObject({ finishReason: 'cancelled', outputTokens: 0, text: '' });
      expect((await mix({}, likeliest, AbortSignal.abort())).result.finishReason).toBe('cancelled');
      const gone = new FleetError('job.expired', 'as asked');
      expect(await codeOf(mix({}, () => Promise.reject(gone)))).toBe('job.expired');
      expect(await codeOf(mix({}, async () => 1_000_000))).toBe('request.invalid');
      const prompt = `${under.prompt} `.repeat(200);
      expect(await codeOf(mix({ input: { kind: 'complete', prompt } }))).toBe('request.invalid');
      expect((await mix({ maxTokens: 2 })).result.finishReason).toBe('length');
    });

    it('mixes beside other jobs', async () => {
      if (!under.scores) return;
      const alone = (await mix({ maxTokens: 9 })).result;
      const [first, second, third] = await Promise.all([
        mix({ maxTokens: 9 }),
        run({ maxTokens: 9 }),
        mix({ maxTokens: 9 }),
      ]);
      for (const { result } of [first, second, third]) {
        expect(result).toMatchObject({ finishReason: alone.finishReason, outputTokens: alone.outputTokens });
      }
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
      if (under.scores) {
        await under.engine.load(under.model, never);
        const mixed = await mix({}, () => (void under.engine.unload(under.model.variantId), new Promise(() => {})));
        expect(mixed.result.finishReason).toBe('cancelled');
        expect(await codeOf(mix())).toBe('engine.unavailable');
        await under.engine.unload(under.model.variantId);
      }
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
