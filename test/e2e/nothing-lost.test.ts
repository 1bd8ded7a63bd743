import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import OpenAI, { toFile } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { BurnDownView, ListBody, RequestView } from '@fleetgate/shared/api/operations';
import { systemClock } from '@fleetgate/shared/clock';
import { requestId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';

import { openJournal } from '../../controller/src/platform/disk-journal.ts';
import { TERMINAL_STATES } from '../../controller/src/dispatch/ledger.ts';
import { SqliteLedger } from '../../controller/src/dispatch/sqlite-ledger.ts';
import { dispatchSchema } from '../../controller/src/dispatch/sqlite-request-row.ts';
import { openDatabase } from '../../controller/src/platform/sqlite-database.ts';
import { type RunningFleet, descendants, getJson, startFleet, until } from '../support/running-fleet.ts';

const CRASH = { code: 'controller.crashed', message: 'killed by a test' };

describe('a ledger whose process is killed', () => {
  it.each([1, 40, 600])(
    'has every job that was sent and every answer that was told, killed after %i lines',
    async (lines) => {
      const directory = mkdtempSync(join(tmpdir(), 'fleetgate-killed-'));
      try {
        const said = await linesUntilKilled(directory, lines);
        const database = await openDatabase(join(directory, 'control.sqlite'), [dispatchSchema]);
        const journal = openJournal(join(directory, 'requests.journal'), silentLogger);
        const ledger = new SqliteLedger({ database, clock: systemClock, log: silentLogger, journal });
        await ledger.closeUnfinished(systemClock.now(), CRASH);
        const told = new Set(said.filter(({ what }) => what === 'told').map(({ id }) => id));
        expect(said.filter(({ what }) => what === 'refused')).toEqual([]);
        for (const { id } of said) {
          const record = await ledger.get(requestId(id));
          expect(TERMINAL_STATES.has(record?.state ?? 'queued'), `${id} is ${record?.state}`).toBe(true);
          if (told.has(id)) expect(record?.state).toBe('succeeded');
          else if (record?.state !== 'succeeded') expect(record).toMatchObject({ state: 'failed', error: CRASH });
        }
        await ledger.close();
        await database.close();
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
  );
});

/** What `dispatch-until-killed.mjs` said before it was killed, at its line `lines`, and on its way to death. */
async function linesUntilKilled(directory: string, lines: number) {
  const script = fileURLToPath(new URL('../support/dispatch-until-killed.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said: { readonly what: string; readonly id: string }[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const [what = '', id = ''] = line.split(' ');
    said.push({ what, id });
    if (said.length === lines) child.kill('SIGKILL');
  }
  expect(child.signalCode ?? 'SIGKILL').toBe('SIGKILL');
  expect(said.length).toBeGreaterThanOrEqual(lines);
  return said;
}

describe('a fleet whose clients go away and whose controller is killed', () => {
  let fleet: RunningFleet;
  let client: OpenAI;

  beforeAll(async () => {
    fleet = await startFleet();
    client = new OpenAI({ apiKey: 'none', baseURL: `${fleet.url}/v1`, maxRetries: 0 });
  }, 240_000);

  afterAll(async () => {
    expect(await fleet.stop()).toBe(0);
  }, 60_000);

  it('stops the device of every client that goes away, streamed, whole, waiting or by several experts', async () => {
    const story = (at: number, more: object = {}) => ({
      model: 'story',
      messages: [{ role: 'user' as const, content: `Tell me a long story about king number ${at}.` }],
      max_tokens: 1500,
      ...more,
    });
    const newest = async (limit: number) =>
      (await getJson<ListBody<RequestView>>(`${fleet.url}/api/v1/requests?limit=${limit}`)).items;
    const before = new Set((await newest(200)).map(({ id }) => id));
    const since = async () => (await newest(200)).filter(({ id }) => !before.has(id));
    const abort = new AbortController();
    const { signal } = abort;
    const gone: Promise<unknown>[] = [];
    // More than the one device that holds the variant does at once: some of them wait.
    for (let at = 0; at < 4; at++) {
      gone.push(client.chat.completions.create(story(at), { signal }));
      gone.push(client.chat.completions.create(story(at, { stream: true }), { signal }));
    }
    gone.push(client.chat.completions.create(story(8, { model: 'vote' }), { signal }));
    const settled = Promise.allSettled(gone);
    await until(async () => (await since()).length === gone.length, 'all of them are under way');
    abort.abort();
    await settled;
    await until(async () => (await since()).every(({ state }) => TERMINAL_STATES.has(state)), 'all of them have ended');
    const ended = await since();
    const cancelled = ended.filter(({ state }) => state === 'cancelled');
    expect(cancelled.length).toBeGreaterThan(gone.length / 2);
    const records = () =>
      Promise.all(cancelled.map(({ id }) => getJson<RequestView>(`${fleet.url}/api/v1/requests/${id}`)));
    // What a job has used comes from its device, when it has stopped.
    await until(
      async () =>
        (await records()).every(
          ({ actual, attempts, collaboration }) =>
            actual !== null || collaboration !== undefined || attempts.every(({ outcome }) => outcome === 'unsent'),
        ),
      'every device has said that it has stopped',
    );
  }, 60_000);

  it('has every request in exactly one terminal state afterwards', async () => {
    const controller = descendants(fleet.pid, /fleetgate\.mjs controller /)[0] ?? 0;
    const ids = new Set<string>();
    const ask = async (at: number): Promise<void> => {
      const { data, response } = await client.chat.completions
        .create({
          model: at % 2 === 0 ? 'story' : 'auto',
          messages: [{ role: 'user', content: `Tell me a long story about king number ${at}.` }],
          max_tokens: at % 4 === 0 ? 4 : 1500,
          stream: true,
        })
        .withResponse();
      ids.add(response.headers.get('x-request-id') ?? '');
      if (ids.size === 3) process.kill(controller, 'SIGKILL');
      for await (const chunk of data) if (chunk.choices[0]?.finish_reason === 'stop') return;
    };
    const asked = Array.from({ length: 12 }, (_, at) => ask(at).catch(() => undefined));
    await Promise.all(asked);
    expect(ids.size).toBeGreaterThanOrEqual(3);
    await until(async () => {
      const status = await getJson<unknown>(`${fleet.url}/api/v1/status`).catch(() => undefined);
      return status !== undefined && descendants(fleet.pid, /fleetgate\.mjs controller /)[0] !== controller;
    }, 'the controller is back');
    for (const id of ids) {
      const { state, error } = await getJson<RequestView>(`${fleet.url}/api/v1/requests/${id}`);
      expect(['succeeded', 'failed']).toContain(state);
      if (state === 'failed') expect(error?.code).toBe('controller.crashed');
    }
    const { items } = await getJson<ListBody<RequestView>>(`${fleet.url}/api/v1/requests?limit=200`);
    expect(items.filter(({ state }) => !TERMINAL_STATES.has(state))).toEqual([]);
    expect(new Set(items.map(({ id }) => id)).size).toBe(items.length);
    expect(items.some(({ error }) => error?.code === 'controller.crashed')).toBe(true);
  }, 120_000);

  it('knows what was used of a budget before the controller was killed', async () => {
    const budgets = `${fleet.url}/api/v1/budgets`;
    const limit = { id: 'ours', per: 'day', tenant: 'ours', energyJ: 1e6, calls: 1000 };
    const set = { ...(await getJson<object>(budgets)), usage: [limit] };
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(budgets, { method: 'PUT', headers, body: JSON.stringify(set) });
    expect(answer.status).toBe(200);
    const ask = (at: number): Promise<boolean> =>
      client.chat.completions
        .create({
          model: 'story',
          messages: [{ role: 'user', content: `Tell me of king ${at}.` }],
          max_tokens: 8,
          user: 'ours',
        })
        .then(
          () => true,
          () => false,
        );
    for (let at = 0; at < 3; at++) await until(() => ask(at), 'it is answered');
    const used = async () =>
      (await getJson<BurnDownView>(`${budgets}/burn-down`).catch(() => undefined))?.usage.find(
        ({ id }) => id === 'ours',
      )?.used;
    const before = await used();
    expect(before?.calls).toBeGreaterThanOrEqual(3);
    expect(before?.energyJ).toBeGreaterThan(0);
    const controller = descendants(fleet.pid, /fleetgate\.mjs controller /)[0] ?? 0;
    process.kill(controller, 'SIGKILL');
    await until(
      async () =>
        descendants(fleet.pid, /fleetgate\.mjs controller /)[0] !== controller && (await used()) !== undefined,
      'the controller is back',
    );
    expect(await used()).toEqual(before);
  }, 120_000);

  it('answers every line of a batch once, also when the controller is killed in the middle of it', async () => {
    const ids = Array.from({ length: 150 }, (_, at) => `line-${at}`);
    const lines = ids.map((id) => ({
      custom_id: id,
      method: 'POST',
      url: '/v1/chat/completions',
      body: { model: 'story', messages: [{ role: 'user', content: `Tell me of king ${id}.` }], max_tokens: 250 },
    }));
    const file = await client.files.create({
      purpose: 'batch',
      file: await toFile(Buffer.from(lines.map((line) => JSON.stringify(line)).join('\n')), 'kings.jsonl'),
    });
    const { id } = await client.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    });
    const batch = () => client.batches.retrieve(id).catch(() => undefined);
    const controller = descendants(fleet.pid, /fleetgate\.mjs controller /)[0] ?? 0;
    let before = await batch();
    while ((before?.request_counts?.completed ?? 0) < 3) before = await batch();
    process.kill(controller, 'SIGKILL');
    expect(before?.status).toBe('in_progress');
    await until(async () => (await batch())?.status === 'completed', 'the batch is completed', 120_000);
    expect(descendants(fleet.pid, /fleetgate\.mjs controller /)[0]).not.toBe(controller);
    const ended = await batch();
    expect(ended?.request_counts).toEqual({ total: ids.length, completed: ids.length, failed: 0 });
    const output = await (await client.files.content(ended?.output_file_id ?? '')).text();
    const answered = output
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { custom_id: string }).custom_id);
    expect(answered.toSorted()).toEqual(ids.toSorted());
  }, 180_000);
});
