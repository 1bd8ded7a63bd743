import type { BegunAnswer, TokenChoice } from '@fleetgate/shared/protocol/job';
import { expect, it } from 'vitest';

import type { GenerateInput, OnText } from './engine.js';
import { type EngineCalls, GREEDY, never } from './engine-calls.fixture.js';

/** What every engine must do of answers. */
export function describeAnswers(calls: EngineCalls): void {
  const { chat, run, codeOf } = calls;

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
    const longer: GenerateInput = {
      kind: 'chat',
      messages: [{ role: 'user', content: `${calls.under.prompt} Tell me.` }],
    };
    const first = await run({}, longer);
    await run({}, { kind: 'complete', prompt: 'Something else altogether' });
    await run();
    const again = await run({}, longer);
    const thrice = await run({}, longer);
    expect([again.text, thrice.text]).toEqual([first.text, first.text]);
    expect(thrice.result.reusedTokens ?? 0).toBeLessThan(thrice.result.promptTokens);
    expect(thrice.result.promptTokens).toBe(first.result.promptTokens);
  });

  it('goes on with an answer that another engine began, token for token, or says that it cannot', async () => {
    const { engine, model } = calls.under;
    if (!engine.abilities.includes('resume')) return;
    const whole = await run();
    const stop = whole.text.slice(24, 29);
    for (const stops of [[], [stop]]) {
      const sampling = { ...GREEDY, stop: stops };
      const answer = async (resume?: BegunAnswer) => {
        const pieces: { readonly text: string; readonly ids: readonly number[] }[] = [];
        const onText: OnText = (text, _, ids = []) => void pieces.push({ text, ids });
        const extras = { tokenIds: true, resume };
        const result = await engine.generate(model.variantId, chat(), sampling, onText, never, extras);
        return { pieces, result, text: pieces.map(({ text }) => text).join('') };
      };
      const first = await answer();
      expect(first.pieces.flatMap(({ ids }) => ids).length).toBeLessThanOrEqual(first.result.outputTokens);
      for (let cut = 1; cut < first.pieces.length; cut += Math.max(1, Math.floor(first.pieces.length / 6))) {
        const told = first.pieces.slice(0, cut);
        const text = told.map((piece) => piece.text).join('');
        const ids = told.flatMap((piece) => piece.ids);
        const { result, text: rest } = await answer({ text, ids });
        expect(text + rest).toBe(first.text);
        expect(result.finishReason).toBe(first.result.finishReason);
        expect(result.resumedTokens).toBe(ids.length);
        expect(result.outputTokens + ids.length).toBe(first.result.outputTokens);
        expect(result.promptTokens).toBe(first.result.promptTokens + ids.length);
        // What the reader has besides the text of the tokens is not sent again.
        const fewer = ids.slice(0, -1);
        if (fewer.length > 0) expect(text + (await answer({ text, ids: fewer })).text).toBe(first.text);
        // By its text alone: another model may have begun it.
        const other = await answer({ text });
        expect(other.result.resumedTokens).toBeGreaterThan(0);
        expect(other.text.length).toBeLessThan(20 * first.text.length);
      }
    }
  });

  it.each([{}, { topLogProbs: 2, choicesWithText: true }])(
    'goes on with what was drawn by a seed as it would have gone on, with %j',
    async (more) => {
      const { engine, model } = calls.under;
      if (!engine.abilities.includes('resume')) return;
      for (const seed of [1, 2, 3]) {
        const sampling = { ...GREEDY, maxTokens: 40, temperature: 0.9, topP: 0.95, seed };
        const answer = async (resume?: BegunAnswer) => {
          const pieces: { text: string; ids: readonly number[]; choices: readonly TokenChoice[] }[] = [];
          const onText: OnText = (text, _, ids = [], choices = []) => void pieces.push({ text, ids, choices });
          const extras = { tokenIds: true, resume, ...more };
          const result = await engine.generate(model.variantId, chat(), sampling, onText, never, extras);
          return { pieces, result };
        };
        const first = await answer();
        for (const cut of [1, Math.floor(first.pieces.length / 2)]) {
          const told = first.pieces.slice(0, cut);
          const resume = { text: told.map(({ text }) => text).join(''), ids: told.flatMap(({ ids }) => ids) };
          await run({}, { kind: 'complete', prompt: 'Something else altogether' });
          const rest = await answer(resume);
          const textOf = (pieces: typeof told): string => pieces.map(({ text }) => text).join('');
          const likelyOf = (pieces: typeof told) => pieces.flatMap(({ choices }) => choices);
          expect(resume.text + textOf(rest.pieces)).toBe(textOf(first.pieces));
          expect(rest.result.finishReason).toBe(first.result.finishReason);
          const expected = likelyOf(first.pieces).slice(likelyOf(told).length);
          expect(likelyOf(rest.pieces).map(({ text }) => text)).toEqual(expected.map(({ text }) => text));
          for (const [at, { logProb }] of likelyOf(rest.pieces).entries()) {
            expect(logProb).toBeCloseTo(expected[at]?.logProb ?? NaN, 3);
          }
        }
      }
    },
  );

  it('says no more where an answer that another engine began was at its end', async () => {
    const { engine, model } = calls.under;
    if (!engine.abilities.includes('resume')) return;
    let text = '';
    const ids: number[] = [];
    const onText: OnText = (piece, _, some = []) => {
      text += piece;
      ids.push(...some);
    };
    const sampling = { ...GREEDY, maxTokens: 6 };
    await engine.generate(model.variantId, chat(), sampling, onText, never, { tokenIds: true });
    const most = { ...sampling, maxTokens: ids.length };
    const said: string[] = [];
    const resume = { text, ids };
    const result = await engine.generate(model.variantId, chat(), most, (piece) => said.push(piece), never, { resume });
    expect(said).toEqual([]);
    expect(result).toMatchObject({ finishReason: 'length', outputTokens: 0 });
    const unknown = { resume: { text, ids: [2 ** 31 - 1] } };
    expect(await codeOf(engine.generate(model.variantId, chat(), sampling, () => {}, never, unknown))).toBe(
      'request.invalid',
    );
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
    const { result } = await run({ maxTokens: 5 }, { kind: 'complete', prompt: calls.under.prompt });
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
      return { kind: 'chat', messages: [{ role: 'user', content: `${calls.under.prompt}${more}` }] };
    });
    const alone: string[] = [];
    for (const input of inputs) alone.push((await run({ maxTokens: 12 }, input)).text);
    const together = await Promise.all(inputs.map(async (input) => run({ maxTokens: 12 }, input)));
    expect(together.map(({ text }) => text)).toEqual(alone);
  });

  it('refuses a prompt that is longer than the context', async () => {
    const prompt = `${calls.under.prompt} `.repeat(200);
    expect(await codeOf(run({}, { kind: 'complete', prompt }))).toBe('request.invalid');
  });
}
