import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ManualClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { deviceId, expertId, planId, variantId } from '@fleetgate/shared/ids';
import { SeededRandom } from '@fleetgate/shared/random';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Database } from '../platform/database.js';
import { openDatabase } from '../platform/sqlite-database.js';
import { aPrompt } from './dispatch-fixtures.js';
import type { DispatchedRequest } from './dispatcher.js';
import { IDEMPOTENCY_DEFAULTS } from './idempotency.js';
import { IdempotentRequests } from './idempotent-requests.js';
import type { Prompt } from './prompt.js';
import { RequestEvents } from './request-events.js';
import { newRequestId, openRecord } from './request-record.js';
import { releaseOrphans, sharedAnswersSchema, SqliteSharedAnswers } from './sqlite-shared-answers.js';

const choice = {
  expertId: expertId('math'),
  variantId: variantId('math-q8_0'),
  deviceId: deviceId('pi'),
  planId: planId('p1'),
};
const random = new SeededRandom(5);
const named = { client: 'acme', key: 'once' };

let folder: string;
let database: Database;
let clock: ManualClock;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fleetgate-answers-'));
  database = await openDatabase(join(folder, 'control.sqlite'), [sharedAnswersSchema]);
  clock = new ManualClock();
});
afterEach(async () => {
  await database.close();
  rmSync(folder, { recursive: true, force: true });
});

/** One of several controllers, whose requests wait for `say` and `end`. */
function aController(owner: string) {
  const taken: { readonly events: RequestEvents; readonly signal: AbortSignal | undefined }[] = [];
  const taker = {
    accept: (prompt: Prompt, signal?: AbortSignal): DispatchedRequest => {
      const events = new RequestEvents();
      taken.push({ events, signal });
      const id = newRequestId(clock.now(), random);
      const record = openRecord(id, prompt, 'auto', clock.now(), false);
      return { id, events, record: () => record, proceed: () => {} };
    },
  };
  const others = new SqliteSharedAnswers(database, () => owner);
  const requests = new IdempotentRequests(taker, clock, IDEMPOTENCY_DEFAULTS, others);
  const answer = (text: string): void => {
    const { events } = taken.at(-1) ?? { events: new RequestEvents() };
    events.push({ kind: 'chosen', choice });
    events.push({ kind: 'tokens', text, tokens: 1 });
    const usage = { promptTokens: 1, outputTokens: 1, energyJ: 1, energySource: 'modelled', queueMs: 0 } as const;
    events.push({ kind: 'done', choice, finishReason: 'stop', usage: { ...usage, prefillMs: 1, decodeMs: 1 } });
  };
  const ask = async (asked: unknown = 'a') => {
    await requests.prepare(asked, named);
    const one = requests.accept(aPrompt(), asked, named);
    const text = (async () => {
      let said = '';
      for await (const event of one.events) said += event.kind === 'tokens' ? event.text : '';
      return said;
    })();
    return { ...one, text };
  };
  return { requests, taken, answer, ask };
}

/** Lets the database answer, and who waits for the clock ask again. */
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    clock.advance(100);
  }
};

describe('requests with a key at several controllers', () => {
  it('are answered once: another controller gives the answer that one has kept', async () => {
    const [one, two] = [aController('one/1'), aController('two/1')];
    const first = await one.ask();
    one.answer('four.');
    expect(await first.text).toBe('four.');
    await settle();
    const again = await two.ask();
    expect(again).toMatchObject({ id: first.id, replayed: true });
    expect(await again.text).toBe('four.');
    expect(two.taken).toHaveLength(0);
    await expect(two.ask('b')).rejects.toMatchObject({ code: 'request.key-reused' });
    await expect(aController('three/1').ask('b')).rejects.toMatchObject({ code: 'request.key-reused' });
  });

  it('are waited for while another answers them', async () => {
    const [one, two] = [aController('one/1'), aController('two/1')];
    const first = await one.ask();
    const second = two.ask();
    await settle();
    expect(two.taken).toHaveLength(0);
    one.answer('four.');
    await settle();
    expect(await (await second).text).toBe('four.');
    expect((await second).id).toBe(first.id);
    expect(two.taken).toHaveLength(0);
  });

  it('are answered by another where one is gone, whose late answer changes nothing', async () => {
    const [one, two] = [aController('one/1'), aController('two/1')];
    await one.ask();
    const second = two.ask();
    await settle();
    await releaseOrphans(['two/1'], clock.now(), (work) => database.write(work));
    await settle();
    expect(two.taken).toHaveLength(1);
    one.answer('late');
    two.answer('four.');
    expect(await (await second).text).toBe('four.');
    await settle();
    expect(await (await aController('three/1').ask()).text).toBe('four.');
  });

  it('are new again where they failed, were left, or their answer is too old', async () => {
    const [one, two] = [aController('one/1'), aController('two/1')];
    await one.ask();
    const error = new FleetError('dispatch.no-capacity', 'none', { retryable: true });
    one.taken[0]?.events.push({ kind: 'failed', error });
    await settle();
    await two.requests.prepare('a', named);
    two.requests.abandon(named);
    await settle();
    await one.ask();
    one.answer('four.');
    await settle();
    clock.advance(IDEMPOTENCY_DEFAULTS.keptFor);
    await two.ask();
    expect([one.taken.length, two.taken.length]).toEqual([2, 1]);
  });

  it('are claimed by one of many at once', async () => {
    const controllers = ['one/1', 'two/1', 'three/1'].map(aController);
    const asked = controllers.flatMap((controller) => [controller.ask(), controller.ask()]);
    await settle();
    const takers = controllers.filter(({ taken }) => taken.length > 0);
    expect(takers.map(({ taken }) => taken.length)).toEqual([1]);
    takers[0]?.answer('four.');
    await settle();
    const all = await Promise.all(asked);
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
    expect(await Promise.all(all.map(({ text }) => text))).toEqual(Array(6).fill('four.'));
  });

  it('are given up where the other does not end in time', async () => {
    const [one, two] = [aController('one/1'), aController('two/1')];
    await one.ask();
    const second = two.ask();
    const refused = expect(second).rejects.toMatchObject({ code: 'dispatch.deadline', retryable: true });
    for (let waited = 0; waited < 70; waited++) await settle();
    await refused;
  });
});
