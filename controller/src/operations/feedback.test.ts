import 'reflect-metadata';

import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { ErrorBody, RequestView } from '@fleetgate/shared/api/operations';
import { systemClock } from '@fleetgate/shared/clock';
import { classId, expertId, requestId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { unixMs } from '@fleetgate/shared/units/quantity';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { aPrompt } from '../dispatch/dispatch-fixtures.js';
import { MemoryLedger } from '../dispatch/memory-ledger.js';
import { openRecord } from '../dispatch/request-record.js';
import { GateLearning } from '../gating/gate-learning.js';
import { LearningWriter } from '../gating/learning-writer.js';
import { learningSchema, SqliteLearningStore } from '../gating/sqlite-learning-store.js';
import type { Database } from '../platform/database.js';
import { ErrorFilter } from '../platform/error-filter.js';
import { openDatabase } from '../platform/sqlite-database.js';
import { FeedbackController } from './feedback.controller.js';
import { LEDGER } from './request.controller.js';

let app: NestFastifyApplication;
let directory: string;
let database: Database;
let learning: GateLearning;
let ledger: MemoryLedger;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'fleetgate-feedback-'));
  database = await openDatabase(join(directory, 'control.sqlite'), [learningSchema]);
  const store = new SqliteLearningStore(database);
  const writer = new LearningWriter(store, systemClock, silentLogger);
  learning = await GateLearning.open({
    store,
    writer,
    fingerprint: () => 'gate',
    clock: systemClock,
    log: silentLogger,
  });
  ledger = new MemoryLedger();
  class FeedbackModule {}
  app = await NestFactory.create<NestFastifyApplication>(
    {
      module: FeedbackModule,
      controllers: [FeedbackController],
      providers: [
        { provide: LEDGER, useValue: ledger },
        { provide: GateLearning, useValue: learning },
      ],
    },
    new FastifyAdapter({ forceCloseConnections: true }),
    { logger: false },
  );
  app.useGlobalFilters(new ErrorFilter(silentLogger));
  await app.listen(0, '127.0.0.1');
});

afterEach(async () => {
  await app.close();
  learning.close();
  await database.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A request of the ledger that `law` has answered. */
function aRequest(state: RequestView['state'] = 'succeeded', id = 'req-000abcdef'): string {
  ledger.put({ ...openRecord(requestId(id), aPrompt(), 'auto', unixMs(1), false), state });
  if (state === 'succeeded') {
    const experts = new Map([[expertId('law'), { quality: 0.3, sd: 0.1, outputTokens: 9 }]]);
    const score = { classId: classId('law'), promptTokens: 3, experts };
    learning.answered({ requestId: requestId(id), expert: expertId('law'), score });
  }
  return id;
}

async function send(body: unknown): Promise<{ readonly status: number; readonly body: Record<string, unknown> }> {
  const { port } = app.getHttpServer().address() as AddressInfo;
  const response = await fetch(`http://127.0.0.1:${port}/v1/feedback`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}
const errorOf = (body: Record<string, unknown>): ErrorBody['error'] => (body as unknown as ErrorBody).error;

describe('POST /v1/feedback', () => {
  it.each([
    [{ rating: 'up' }, 1],
    [{ rating: 'down' }, 0],
    [{ score: 0.7 }, 0.7],
    [{ correct: true }, 1],
    [{ correct: false, comment: 'off by one' }, 0],
  ])('counts %j for the expert that answered', async (given, value) => {
    const id = aRequest();
    const answer = { object: 'feedback', request_id: id, expert: 'law', value, replaced: false };
    expect(await send({ request_id: id, ...given })).toEqual({ status: 202, body: answer });
    expect(learning.evidence).toEqual([expect.objectContaining({ source: 'feedback', expert: 'law', value })]);
  });

  it.each(['chatcmpl-000abcdef', 'cmpl-000abcdef'])('knows an answer by its own id, %s', async (id) => {
    aRequest();
    expect((await send({ request_id: id, rating: 'up' })).status).toBe(202);
  });

  it('lets a later rating take the place of an earlier one', async () => {
    const id = aRequest();
    await send({ request_id: id, rating: 'up' });
    const { body } = await send({ request_id: id, rating: 'down' });
    expect(body).toMatchObject({ replaced: true, value: 0 });
    expect(learning.counts().feedback).toBe(1);
  });

  it('answers 404 for a request that nobody made', async () => {
    const { status, body } = await send({ request_id: 'req-unknown', rating: 'up' });
    expect([status, errorOf(body).code, errorOf(body).param]).toEqual([404, 'request.not-found', 'request_id']);
  });

  it('answers 409 while the request is under way, to be tried again', async () => {
    const { status, body } = await send({ request_id: aRequest('running'), rating: 'up' });
    expect([status, errorOf(body).code]).toEqual([409, 'request.not-ended']);
  });

  it.each(['failed', 'refused', 'cancelled'] as const)('answers 409 for a request that has %s', async (state) => {
    const { status, body } = await send({ request_id: aRequest(state), rating: 'up' });
    expect([status, errorOf(body).code]).toEqual([409, 'request.not-rateable']);
  });

  it('answers 409 where nothing is known any more of what was answered', async () => {
    ledger.put({ ...openRecord(requestId('req-old'), aPrompt(), 'auto', unixMs(1), false), state: 'succeeded' });
    const { status, body } = await send({ request_id: 'req-old', rating: 'up' });
    expect([status, errorOf(body).code]).toEqual([409, 'request.not-rateable']);
  });

  it.each([
    [{}, 'request_id'],
    [{ request_id: '' }, 'request_id'],
    [{ request_id: 'req-1\u0000', rating: 'up' }, 'request_id'],
    [{ request_id: 7, rating: 'up' }, 'request_id'],
    [{ request_id: 'req-000abcdef' }, 'rating'],
    [{ request_id: 'req-000abcdef', rating: 'meh' }, 'rating'],
    [{ request_id: 'req-000abcdef', score: 1.5 }, 'score'],
    [{ request_id: 'req-000abcdef', score: null }, 'score'],
    [{ request_id: 'req-000abcdef', correct: 'yes' }, 'correct'],
    [{ request_id: 'req-000abcdef', rating: 'up', score: 0 }, 'score'],
    [{ request_id: 'req-000abcdef', rating: 'up', comment: 'x'.repeat(2001) }, 'comment'],
    [[], null],
    ['up', null],
  ])('answers 400 for %j, naming %s', async (given, param) => {
    aRequest();
    const { status, body } = await send(given);
    expect([status, errorOf(body).code, errorOf(body).param]).toEqual([400, 'request.invalid', param]);
    expect(learning.evidence).toEqual([]);
  });
});
