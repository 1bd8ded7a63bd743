import type { Grammar } from '@fleetgate/shared/protocol/grammar';
import type { TokenChoice } from '@fleetgate/shared/protocol/job';
import { expect, it } from 'vitest';

import type { GenerateExtras, OnText, ScoreWishes } from './engine.js';
import { type EngineCalls, GREEDY, never } from './engine-calls.fixture.js';

/** Characters of the stop strings of the models under test. */
const LONGEST_STOP = 10;

/** What every engine must do, or say that it cannot: grammars, scores, likeliest tokens, embeddings. */
export function describeExtras(calls: EngineCalls): void {
  const { chat, run, codeOf } = calls;

  it('says which extras it has', () => {
    const { engine, knowsGrammars } = calls.under;
    expect(engine.abilities.includes('grammar')).toBe(knowsGrammars !== false);
    expect(engine.abilities).toContain('log-probs');
  });

  it('keeps an answer within a grammar or a schema, refuses what is none, or says that it cannot', async () => {
    const { engine, model } = calls.under;
    const answered = async (grammar: Grammar): Promise<string> => {
      let text = '';
      const onText = (piece: string): void => void (text += piece);
      await engine.generate(model.variantId, chat(), { ...GREEDY, maxTokens: 60 }, onText, never, { grammar });
      return text;
    };
    const yesOrNo: Grammar = { kind: 'gbnf', text: 'root ::= "yes" | "no"' };
    if (!calls.under.knowsGrammars) {
      if (calls.under.knowsGrammars === false) expect(await codeOf(answered(yesOrNo))).toBe('engine.unavailable');
      return;
    }
    expect(['yes', 'no']).toContain(await answered(yesOrNo));
    const schema = { type: 'object', properties: { sure: { type: 'boolean' } } };
    const json = await answered({ kind: 'json-schema', schema });
    expect(JSON.parse(json)).toEqual({ sure: expect.any(Boolean) });
    // The value is all there is: no model is made to write to its last token.
    expect(json).toBe(json.trim());
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

  it('scores, or says that it cannot', async () => {
    const call = calls.under.engine.score(calls.under.model.variantId, calls.under.prompt, 'The answer is 7', never);
    if (calls.under.scores) expect((await call).bits).toBeGreaterThan(0);
    else expect(await codeOf(call)).toBe('engine.unavailable');
  });

  it('scores in detail: the same bits, token by token', async () => {
    if (!calls.under.scores) return;
    const of = (wishes?: ScoreWishes) =>
      calls.under.engine.score(calls.under.model.variantId, calls.under.prompt, 'It is 7', never, wishes);
    const { promptBits, tokenBits = [], bits, scoredTokens } = await of({ detail: 'tokens' });
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
      const { engine, model } = calls.under;
      const result = await engine.generate(model.variantId, chat(), sampling, () => {}, signal, { confidence: true });
      expect(result.meanLogProb).toBeLessThan(0);
      expect(result.meanLogProb).toBeGreaterThan(-15);
    }
  });

  it('gives texts as unit vectors in their order, the same for the same text', async () => {
    const { engine, model, prompt } = calls.under;
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
    for (const [i, value] of (beside.vectors[0] ?? []).entries()) expect(value).toBeCloseTo(vectors[0]?.[i] ?? NaN, 4);
    expect((await embed([])).vectors).toEqual([]);
  });

  it('refuses to embed what does not fit, and stops when aborted', async () => {
    const { engine, model, prompt } = calls.under;
    const embed = (text: string, signal = never) => codeOf(engine.embed(model.variantId, [prompt, text], signal));
    expect(await embed(`${prompt} `.repeat(200))).toBe('request.invalid');
    expect(await embed(prompt, AbortSignal.abort())).toBe('job.cancelled');
    expect(await embed(prompt)).toBeUndefined();
  });

  it.each([
    ['greedy', { temperature: 0, topP: 1 }],
    ['drawn', { temperature: 1, topP: 1 }],
    ['drawn coolly from a nucleus', { temperature: 0.7, topP: 0.9 }],
  ] as const)('tells it with the text, where asked for, and the same of all tokens: %s', async (_, how) => {
    const { engine, model } = calls.under;
    const whole = (await run()).text;
    for (const stop of [[], [whole.slice(8, 11)]]) {
      const sampling = { ...GREEDY, ...how, seed: 11, maxTokens: 24, stop };
      const answered = async (extras: GenerateExtras) => {
        const pieces: { readonly text: string; readonly choices: readonly TokenChoice[] }[] = [];
        const onText: OnText = (text, _tokens, _ids, choices = []) => void pieces.push({ text, choices });
        const result = await engine.generate(model.variantId, chat(), sampling, onText, never, extras);
        return { pieces, result };
      };
      const after = await answered({ topLogProbs: 2 });
      const along = await answered({ topLogProbs: 2, choicesWithText: true });
      expect(along.pieces.map(({ text }) => text).join('')).toBe(after.pieces.map(({ text }) => text).join(''));
      expect(after.pieces.flatMap(({ choices }) => choices)).toEqual([]);
      const told = along.pieces.flatMap(({ choices }) => choices);
      expect([...told, ...(along.result.choices ?? [])]).toEqual(after.result.choices);
      if (stop.length > 0) continue;
      expect(
        told
          .map(({ text }) => text)
          .join('')
          .trim(),
      ).toBe(
        along.pieces
          .map(({ text }) => text)
          .join('')
          .trim(),
      );
      let [text, likely] = ['', ''];
      for (const piece of along.pieces) {
        text += piece.text;
        likely += piece.choices.map((choice) => choice.text).join('');
        // A token whose end may begin a stop string is told with the rest of it.
        expect(likely.trimStart().startsWith(text)).toBe(true);
        expect(likely.trimStart().length - text.length).toBeLessThan(LONGEST_STOP);
      }
    }
  });

  it.each(['chat', 'complete'] as const)(
    'tells how likely each token was, and what the likeliest were (%s)',
    async (kind) => {
      const { engine, model, prompt } = calls.under;
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
}
