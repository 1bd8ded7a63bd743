import 'reflect-metadata';

import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ManualClock } from '@fleetgate/shared/clock';
import { silentLogger } from '@fleetgate/shared/logger';
import { systemRandom } from '@fleetgate/shared/random';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import OpenAI, { APIError, toFile } from 'openai';
import type { Batch } from 'openai/resources/batches';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Database } from '../../platform/database.js';
import { ErrorFilter } from '../../platform/error-filter.js';
import { openDatabase } from '../../platform/sqlite-database.js';
import { RateLimits } from '../../access/rate-limits.js';
import { WorkloadModel } from '../../telemetry/workload-model.js';
import { DISPATCH_DEFAULTS } from '../dispatch-config.js';
import { aCatalogue, aDevice, aGate, anExpert, aPolicy, FixtureCosts, FixtureFleet } from '../dispatch-fixtures.js';
import { readJsonBodies } from '../dispatch.module.js';
import { Dispatcher } from '../dispatcher.js';
import { MemoryLedger } from '../memory-ledger.js';
import { type ScriptedJob, ScriptedExpertLink } from '../scripted-expert-link.js';
import { batchModule, readForms } from './batch.module.js';
import { type OpenBatches, openBatches } from './open-batches.js';
import { batchSchema } from './sqlite-batch-store.js';
import { rejection } from '../openai/rejection.fixture.js';

const HOUR = 3_600_000;
const catalogue = aCatalogue([anExpert('math')]);
const devices = [
  aDevice('jetson', ['math-q8_0'], { abilities: ['embeddings'] }),
  aDevice('pi', ['math-q8_0'], { abilities: ['embeddings'] }),
];

let directory: string;
let clock: ManualClock;
let link: ScriptedExpertLink;
let policy: ReturnType<typeof aPolicy> | undefined;
let rates: RateLimits;
let database: Database;
let dispatcher: Dispatcher;
let opened: OpenBatches;
let app: NestFastifyApplication;
let client: OpenAI;

/** A controller as far as batches go, on the database of an earlier one. */
async function begin(): Promise<void> {
  const fleet = new FixtureFleet(devices);
  database = await openDatabase(join(directory, 'control.sqlite'), [batchSchema]);
  dispatcher = new Dispatcher({
    fleet,
    catalogue: () => catalogue,
    gate: () => aGate({ math: 0.6 }),
    costs: new FixtureCosts(),
    workloads: new WorkloadModel(),
    policy: () => policy,
    link,
    ledger: new MemoryLedger(),
    clock,
    random: systemRandom,
    log: silentLogger,
    onDemand: () => {},
    config: DISPATCH_DEFAULTS,
  });
  const load = () => ({
    idleDevices: devices.filter((device) => dispatcher.isIdle(device)).length,
    inFlight: dispatcher.inFlight,
    maxInFlight: DISPATCH_DEFAULTS.maxInFlight,
  });
  opened = openBatches({ database, taker: dispatcher, load, rates, clock, random: systemRandom, log: silentLogger });
  await opened.runner.start();
  const adapter = new FastifyAdapter({ forceCloseConnections: true });
  app = await NestFactory.create<NestFastifyApplication>(batchModule(opened.batches), adapter, { logger: false });
  app.useGlobalFilters(new ErrorFilter(silentLogger));
  readJsonBodies(app);
  readForms(app);
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'none', maxRetries: 0 });
}

async function end(): Promise<void> {
  await app.close();
  await opened.runner.close();
  await dispatcher.close();
  await database.close();
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'fleetgate-batches-'));
  clock = new ManualClock();
  link = new ScriptedExpertLink(answer);
  policy = aPolicy(devices);
  rates = new RateLimits(clock);
  await begin();
});

afterEach(async () => {
  await end();
  rmSync(directory, { recursive: true, force: true });
});

function answer(job: ScriptedJob): void {
  job.accepted();
  if (job.job.kind === 'embed') job.embedded([Buffer.from(Float32Array.of(0.5).buffer).toString('base64')]);
  else {
    job.tokens(`four to ${askedIn(job)}`);
    job.done();
  }
}

/** What the last message of a job asks. */
function askedIn({ job }: ScriptedJob): string {
  return job.kind === 'chat' ? (job.messages.at(-1)?.content ?? '') : '';
}

const chatLine = (customId: string, more: object = {}) => ({
  custom_id: customId,
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'math', messages: [{ role: 'user', content: customId }], ...more },
});

async function submit(lines: readonly (object | string)[], more: Partial<OpenAI.BatchCreateParams> = {}) {
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n');
  const file = await client.files.create({ purpose: 'batch', file: await toFile(Buffer.from(text), 'in.jsonl') });
  const asked = { endpoint: '/v1/chat/completions' as const, completion_window: '24h' as const, ...more };
  return client.batches.create({ ...asked, input_file_id: file.id });
}

/** Polls, moving the clock, until `holds`. */
async function until(id: string, holds: (batch: Batch) => boolean, stepMs = 1000): Promise<Batch> {
  for (let polls = 0; polls < 2000; polls++) {
    const batch = await client.batches.retrieve(id);
    if (holds(batch)) return batch;
    clock.advance(stepMs);
  }
  throw new Error('the batch did not come so far');
}

const hasEnded = ({ status }: Batch) => ['completed', 'failed', 'expired', 'cancelled'].includes(status);

async function linesOf(fileId: string | null | undefined) {
  const text = await (await client.files.content(fileId ?? '')).text();
  return text
    .trimEnd()
    .split('\n')
    .map(
      (line) =>
        JSON.parse(line) as {
          id: string;
          custom_id: string;
          response: {
            status_code: number;
            request_id: string;
            body: OpenAI.ChatCompletion & { error: unknown };
          } | null;
          error: { code: string } | null;
        },
    );
}

const refusal = (call: Promise<unknown>): Promise<APIError> => rejection(APIError, call);

describe('a batch of the openai client', () => {
  it('is answered line by line, what is wrong with a line in its own file', async () => {
    const lines = Array.from({ length: 30 }, (_, at) => chatLine(`q${at}`));
    const batch = await submit(
      [...lines, chatLine('bad', { temperature: 9 }), chatLine('streamed', { stream: true })],
      {
        metadata: { job: 'nightly' },
      },
    );
    expect(batch).toMatchObject({ object: 'batch', status: 'validating', metadata: { job: 'nightly' } });
    expect(batch.request_counts).toEqual({ total: 32, completed: 0, failed: 0 });
    const ended = await until(batch.id, hasEnded);
    expect(ended).toMatchObject({ status: 'completed', request_counts: { total: 32, completed: 30, failed: 2 } });
    const output = await linesOf(ended.output_file_id);
    expect(output.map(({ custom_id: id }) => id)).toEqual(lines.map(({ custom_id: id }) => id));
    expect(output[3]).toMatchObject({
      custom_id: 'q3',
      error: null,
      response: { status_code: 200, body: { object: 'chat.completion', model: 'math-q8_0' } },
    });
    expect(output[3]?.response?.body.choices[0]?.message.content).toBe('four to q3');
    expect(output[3]?.response?.request_id).toMatch(/^req-/);
    const errors = await linesOf(ended.error_file_id);
    expect(errors.map(({ custom_id: id, response }) => [id, response?.status_code])).toEqual([
      ['bad', 400],
      ['streamed', 400],
    ]);
    const file = await client.files.retrieve(ended.output_file_id ?? '');
    expect(file).toMatchObject({ object: 'file', purpose: 'batch_output', filename: `${batch.id}_output.jsonl` });
    expect(file.bytes).toBe(Buffer.byteLength(await (await client.files.content(file.id)).text()));
  });

  it('answers embeddings and completions', async () => {
    const line = (url: string, body: object) => ({
      custom_id: url,
      method: 'POST',
      url,
      body: { model: 'math', ...body },
    });
    const asked = [
      ['/v1/embeddings', { input: 'a' }, 'list'],
      ['/v1/completions', { prompt: 'two and' }, 'text_completion'],
    ] as const;
    for (const [endpoint, body, object] of asked) {
      const ended = await until((await submit([line(endpoint, body)], { endpoint })).id, hasEnded);
      expect((await linesOf(ended.output_file_id))[0]).toMatchObject({ response: { body: { object } } });
    }
  });

  it('is not begun when lines are none, and says which', async () => {
    const wrong = { ...chatLine('other'), url: '/v1/embeddings' };
    const ended = await until(
      (await submit([chatLine('a'), '{', chatLine('a'), wrong, { custom_id: 'x' }])).id,
      hasEnded,
    );
    expect(ended.status).toBe('failed');
    expect(ended.errors?.data?.map(({ code, line }) => [code, line])).toEqual([
      ['invalid_json_line', 2],
      ['duplicate_custom_id', 3],
      ['mismatched_endpoint', 4],
      ['invalid_line', 5],
    ]);
    expect(link.jobs).toHaveLength(0);
  });

  it('waits while the fleet has no room, and sends again what a device failed', async () => {
    policy = undefined;
    const batch = await submit([chatLine('a'), chatLine('b')]);
    await until(batch.id, () => dispatcher.stats.refused > 0);
    const refused = dispatcher.stats.refused;
    policy = aPolicy(devices);
    let failures = 0;
    link.behave = (job) => {
      job.accepted();
      if (failures++ < 4) job.failed('engine.crashed');
      else answer(job);
    };
    const ended = await until(batch.id, hasEnded);
    expect(ended).toMatchObject({ status: 'completed', request_counts: { completed: 2, failed: 0 } });
    expect(refused).toBeLessThan(4);
  });

  it('waits for the limits of its tenant, and is answered whole', async () => {
    rates.set('acme', { requestsPerMinute: 1, outputTokensPerMinute: null });
    const begunAt = clock.now();
    const batch = await submit(['a', 'b', 'c', 'd'].map((id) => chatLine(id, { user: 'acme' })));
    const ended = await until(batch.id, hasEnded, 1000);
    expect(ended).toMatchObject({ status: 'completed', request_counts: { completed: 4, failed: 0 } });
    expect(clock.now() - begunAt).toBeGreaterThanOrEqual(3 * 60_000);
  });

  it('gives a line up that brings its devices down again and again', async () => {
    link.behave = (job) => {
      job.accepted();
      if (askedIn(job) === 'poison') job.failed('engine.crashed');
      else answer(job);
    };
    const ended = await until((await submit([chatLine('poison'), chatLine('fine')])).id, hasEnded, 5000);
    expect(ended).toMatchObject({ status: 'completed', request_counts: { completed: 1, failed: 1 } });
    expect((await linesOf(ended.error_file_id))[0]).toMatchObject({
      custom_id: 'poison',
      response: { status_code: 502 },
    });
  });

  it('says of the lines that there was no time for that the window was over', async () => {
    policy = undefined;
    const batch = await submit([chatLine('a'), chatLine('b')], { completion_window: '1h' as never });
    const ended = await until(batch.id, hasEnded, HOUR / 10);
    expect(ended).toMatchObject({ status: 'expired', output_file_id: null });
    expect((await linesOf(ended.error_file_id)).map(({ custom_id: id, error }) => [id, error?.code])).toEqual([
      ['a', 'batch_expired'],
      ['b', 'batch_expired'],
    ]);
  });

  it('stops when it is cancelled, on the devices too, and keeps what was answered', async () => {
    link.behave = (job) => {
      if (askedIn(job) === 'a') answer(job);
      else job.accepted();
    };
    const batch = await submit(['a', 'b', 'c', 'd'].map((id) => chatLine(id)));
    await until(batch.id, ({ request_counts: counts }) => counts?.completed === 1 && dispatcher.inFlight === 2);
    expect((await client.batches.cancel(batch.id)).status).toMatch(/^cancel/);
    const ended = await until(batch.id, hasEnded);
    expect(ended).toMatchObject({ status: 'cancelled', error_file_id: null, request_counts: { completed: 1 } });
    expect(link.cancelled).toHaveLength(2);
    expect((await linesOf(ended.output_file_id)).map(({ custom_id: id }) => id)).toEqual(['a']);
    expect((await refusal(client.batches.cancel(batch.id))).status).toBe(400);
  });

  it('goes on after a restart with the lines that have no answer, each once', async () => {
    link.behave = (job) => {
      if (link.jobs.length <= 5) answer(job);
      else job.accepted();
    };
    const ids = Array.from({ length: 12 }, (_, at) => `q${at}`);
    const batch = await submit(ids.map((id) => chatLine(id)));
    await until(batch.id, ({ request_counts: counts }) => (counts?.completed ?? 0) >= 5);
    await end();
    link = new ScriptedExpertLink(answer);
    await begin();
    const ended = await until(batch.id, hasEnded);
    expect(ended).toMatchObject({ status: 'completed', request_counts: { total: 12, completed: 12, failed: 0 } });
    expect((await linesOf(ended.output_file_id)).map(({ custom_id: id }) => id)).toEqual(ids);
    expect(link.jobs).toHaveLength(7);
  });

  it('is listed, newest first', async () => {
    const made: string[] = [];
    for (let at = 0; at < 3; at++) {
      made.push((await submit([chatLine('a')])).id);
      clock.advance(1);
    }
    const listed: string[] = [];
    for await (const { id } of client.batches.list({ limit: 2 })) listed.push(id);
    expect(listed).toEqual(made.toReversed());
    for (const id of made) await until(id, hasEnded);
  });
});

describe('files', () => {
  const upload = async (content: string | Buffer, purpose: OpenAI.FilePurpose = 'batch') =>
    client.files.create({ purpose, file: await toFile(Buffer.from(content), 'in.jsonl') });

  it('are given back, listed and deleted, but not while a batch reads them', async () => {
    const file = await upload('{"a":1}\r\n\n{"b":"é"}\n');
    expect(file).toMatchObject({ object: 'file', purpose: 'batch', filename: 'in.jsonl', bytes: 21 });
    expect(await (await client.files.content(file.id)).text()).toBe('{"a":1}\n{"b":"é"}\n');
    const listed: string[] = [];
    for await (const { id } of client.files.list()) listed.push(id);
    expect(listed).toEqual([file.id]);
    policy = undefined;
    const batch = await submit([chatLine('a')]);
    expect((await refusal(client.files.delete(batch.input_file_id))).status).toBe(409);
    expect(await client.files.delete(file.id)).toMatchObject({ deleted: true });
    expect((await refusal(client.files.retrieve(file.id))).status).toBe(404);
    await client.batches.cancel(batch.id);
    await until(batch.id, hasEnded);
  });

  it('leave nothing behind when they are old', async () => {
    const ended = await until((await submit([chatLine('a')])).id, hasEnded);
    clock.advance(8 * 24 * HOUR);
    const last = await submit([chatLine('b')]);
    await until(last.id, hasEnded);
    for (;;) {
      const rows: readonly { readonly id: string }[] = await database.source.query('SELECT id FROM batch');
      if (rows.every(({ id }) => id === last.id)) break;
      clock.advance(60_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await refusal(client.batches.retrieve(ended.id))).status).toBe(404);
    for (const table of ['batch', 'batch_file_line', 'batch_result']) {
      expect(await database.source.query(`SELECT COUNT(*) AS rows FROM ${table}`), table).toEqual([{ rows: 1 }]);
    }
  });

  it('are refused where they are none', async () => {
    const facts = ({ status, param }: APIError) => [status, param];
    expect(facts(await refusal(upload('{}', 'fine-tune')))).toEqual([400, 'purpose']);
    expect(facts(await refusal(upload('\n\n')))).toEqual([400, 'file']);
    expect(facts(await refusal(upload(Buffer.from([0x7b, 0xff]))))).toEqual([400, 'file']);
    expect(facts(await refusal(upload('{}\n'.repeat(10_001))))).toEqual([413, 'file']);
    const post = (contentType: string, body: string) =>
      fetch(`${client.baseURL}/files`, { method: 'POST', headers: { 'content-type': contentType }, body });
    for (const [type, body] of [
      ['application/json', '{}'],
      ['multipart/form-data', 'x'],
      ['multipart/form-data; boundary=b', '--b\r\nContent-Disposition: form-data; name="file"'],
    ] as const) {
      expect((await post(type, body)).status, type).toBe(400);
    }
    const asked = { endpoint: '/v1/chat/completions' as const, completion_window: '24h' as const };
    expect((await refusal(client.batches.create({ ...asked, input_file_id: 'file-none' }))).status).toBe(404);
    const file = await upload('{}');
    for (const window of ['25h', 'soon', '0h']) {
      const error = await refusal(
        client.batches.create({ ...asked, input_file_id: file.id, completion_window: window as never }),
      );
      expect(facts(error)).toEqual([400, 'completion_window']);
    }
    expect((await refusal(client.batches.retrieve('batch_none'))).status).toBe(404);
  });
});
