import { describe, expect, it } from 'vitest';

import { ApiFailure, failureOf, reasonOf } from '../../controller/dashboard/src/api/failure.js';
import {
  beginExchange,
  type Exchange,
  withEnd,
  withFailure,
  withFrame,
  withHeaders,
  withStop,
} from '../../controller/dashboard/src/chat/exchange.js';
import { groupModels, samplePrompts } from '../../controller/dashboard/src/chat/models.js';
import { deviation, expertOnDevice, rankCandidates } from '../../controller/dashboard/src/record/record-words.js';
import { expertViews } from '../support/dashboard-fixture-fleet.js';
import { candidatesFor } from '../support/dashboard-fixture-requests.js';
import { SeededRandom } from '@fleetgate/shared/random';

const begun = beginExchange(1, 'auto', 'Hi');
const frames = (from: Exchange, ...bodies: readonly unknown[]): Exchange =>
  bodies.reduce<Exchange>(
    (exchange, body) =>
      withFrame(exchange, { event: 'message', data: typeof body === 'string' ? body : JSON.stringify(body) }),
    from,
  );
const delta = (content: string, finish: string | null = null) => ({
  choices: [{ delta: { content }, finish_reason: finish }],
});

describe('a streamed answer', () => {
  it('grows by its deltas and ends with [DONE]', () => {
    const half = frames(begun, { choices: [{ delta: { role: 'assistant', content: '' } }] }, delta('Hel'));
    expect(half).toMatchObject({ phase: 'streaming', answer: 'Hel' });
    expect(frames(half, delta('lo', 'stop'), { choices: [], usage: {} }, '[DONE]')).toMatchObject({
      phase: 'done',
      answer: 'Hello',
      finishReason: 'stop',
    });
  });

  it('takes who answers from the headers', () => {
    const headers = new Headers({ 'x-request-id': 'r1', 'x-fleetgate-expert': 'math', 'x-fleetgate-device': 'pi' });
    expect(withHeaders(begun, headers)).toMatchObject({ requestId: 'r1', expertId: 'math', deviceId: 'pi' });
  });

  it('fails on an error frame and keeps what was written', () => {
    const failed = frames(begun, delta('Hel'), {
      error: { message: 'The device was lost.', code: 'device.lost', hint: 'Ask again.' },
    });
    expect(failed).toMatchObject({
      phase: 'failed',
      answer: 'Hel',
      failure: { message: 'The device was lost.', hint: 'Ask again.' },
    });
    expect(frames(failed, delta('x'))).toBe(failed);
  });

  it('fails on a frame that is not JSON, and survives odd ones', () => {
    expect(frames(begun, 'nonsense').phase).toBe('failed');
    expect(
      frames(begun, null, 3, [], { choices: 'x' }, { choices: [null] }, { choices: [{ delta: 4 }] }),
    ).toMatchObject({
      phase: 'streaming',
      answer: '',
    });
  });

  it('is cut off when the body ends early, whole when a finish reason came', () => {
    expect(withEnd(frames(begun, delta('Hel'))).failure?.message).toMatch(/cut off/);
    expect(withEnd(frames(begun, delta('Hel', 'length'))).phase).toBe('done');
  });

  it('once stopped or failed stays so', () => {
    const stopped = withStop(frames(begun, delta('Hel')));
    expect(stopped.phase).toBe('stopped');
    expect(withEnd(stopped)).toBe(stopped);
    expect(withFailure(stopped, new ApiFailure('late', null))).toBe(stopped);
  });
});

describe('failures', () => {
  it('reads the error body with its hint', () => {
    const failure = failureOf(401, '{"error":{"message":"An API key is needed.","code":"auth.missing","hint":"Ask."}}');
    expect(failure).toMatchObject({
      message: 'An API key is needed.',
      status: 401,
      code: 'auth.missing',
      hint: 'Ask.',
    });
    expect(failure.needsKey).toBe(true);
  });

  it('makes something readable of anything else', () => {
    expect(failureOf(502, '<html>').message).toBe('The controller answered with status 502.');
    expect(reasonOf(new TypeError('fetch failed'))).toBe('The controller cannot be reached.');
    expect(reasonOf(new DOMException('', 'TimeoutError'))).toMatch(/in time/);
    expect(reasonOf('odd')).toBe('odd');
  });
});

describe('models', () => {
  const experts = expertViews(0);

  it('sorts them by who chooses; auto is there even before the list is', () => {
    expect(groupModels(['auto', 'math', 'math-q8_0', 'auto:eco'], experts)).toEqual([
      { title: 'The fleet chooses', ids: ['auto', 'auto:eco'] },
      { title: 'One expert', ids: ['math'] },
      { title: 'One build', ids: ['math-q8_0'] },
    ]);
    expect(groupModels([], [])).toEqual([{ title: 'The fleet chooses', ids: ['auto'] }]);
  });

  it('offers prompts of the domains that are served', () => {
    expect(samplePrompts(experts)).toHaveLength(4);
    expect(samplePrompts([])).toEqual(['What can you do?']);
  });
});

describe('decision record', () => {
  it('ranks the chosen first, then by value, the excluded last', () => {
    const ranked = rankCandidates(candidatesFor('code', new SeededRandom(3)));
    expect(ranked[0]).toMatchObject({ expertId: 'code', chosen: true });
    expect(ranked.at(-1)).toMatchObject({ expertId: 'story', excluded: 'still being fetched' });
    const values = ranked.slice(1, -1).map((candidate) => candidate.value ?? -Infinity);
    expect(values).toEqual([...values].sort((a, b) => b - a));
  });

  it.each([
    [10, 10.1, 'as predicted'],
    [10, 8, '20 % below prediction'],
    [10, 13, '30 % above prediction'],
    [10, 31, '3.1× the prediction'],
    [0, 5, null],
    [null, 5, null],
    [5, undefined, null],
  ])('compares predicted %s with actual %s', (predicted, actual, words) => {
    expect(deviation(predicted, actual)?.replaceAll('\u00a0', ' ') ?? null).toBe(words);
  });

  it('says who answered', () => {
    expect(expertOnDevice({ expertId: null, deviceId: null })).toBe('no expert');
    expect(expertOnDevice({ expertId: 'math', deviceId: null })).toBe('math');
    expect(expertOnDevice({ expertId: 'math', deviceId: 'pi' })).toBe('math on pi');
  });
});
