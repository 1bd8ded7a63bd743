import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { RequestView } from '@fleetgate/shared/api/operations';
import { ManualClock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import { requestId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { SeededRandom } from '@fleetgate/shared/random';
import { milliseconds, unixMs } from '@fleetgate/shared/units/quantity';
import { afterEach, describe, expect, it } from 'vitest';

import { openDatabase } from '../platform/sqlite-database.js';
import { openJournal } from '../platform/disk-journal.js';
import { aPrompt } from './dispatch-fixtures.js';
import type { Ledger } from './ledger.js';
import { MemoryLedger } from './memory-ledger.js';
import { newRequestId, openRecord, recordEnd } from './request-record.js';
import { LEDGER_DEFAULTS, type LedgerSettings, SqliteLedger } from './sqlite-ledger.js';
import { closeOrphans } from './sqlite-orphans.js';
import { dispatchSchema } from './sqlite-request-row.js';

const random = new SeededRandom(3);
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function aRecord(at: number): RequestView {
  const now = unixMs(1_700_000_000_000 + at);
  return openRecord(newRequestId(now, random), aPrompt(), 'auto', now, false);
}

async function sqlite(clock = new ManualClock(), settings: Partial<LedgerSettings> = {}, owner = '') {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-ledger-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'control.sqlite');
  const open = async () => {
    const database = await openDatabase(path, [dispatchSchema]);
    const ledger = new SqliteLedger({
      database,
      clock,
      log: silentLogger,
      journal: openJournal(join(directory, 'requests.journal'), silentLogger),
      settings: { ...LEDGER_DEFAULTS, ...settings },
      owner: () => owner,
    });
    cleanups.push(() => database.close());
    return { ledger, database };
  };
  return { ...(await open()), open, directory };
}

describe.each<[string, () => Promise<Ledger>]>([
  ['MemoryLedger', async () => new MemoryLedger()],
  ['SqliteLedger', async () => (await sqlite()).ledger],
])('%s keeps the contract of a ledger', (_name, make) => {
  it('finds what was put, at once and after it was written, newest state first', async () => {
    const ledger = await make();
    const record = aRecord(0);
    ledger.put(record);
    expect(await ledger.get(requestId(record.id))).toEqual(record);
    await ledger.flush();
    const ended = recordEnd(record, 'succeeded', unixMs(9));
    ledger.put(ended);
    expect(await ledger.get(requestId(record.id))).toEqual(ended);
    await ledger.flush();
    expect(await ledger.get(requestId(record.id))).toEqual(ended);
    expect(await ledger.get(requestId('req-nobody'))).toBeUndefined();
    await ledger.close();
  });

  it('lists the requests of clients, and keeps what one of several experts was asked', async () => {
    const ledger = await make();
    const parent = aRecord(4);
    const call = { ...aRecord(5), id: newRequestId(unixMs(5), random, 'call') };
    ledger.put(parent);
    ledger.put({ ...call, callOf: parent.id });
    expect((await ledger.list({ limit: 10 })).map(({ id }) => id)).toEqual([parent.id]);
    await ledger.flush();
    expect((await ledger.list({ limit: 10 })).map(({ id }) => id)).toEqual([parent.id]);
    expect((await ledger.get(requestId(call.id)))?.callOf).toBe(parent.id);
    await ledger.close();
  });

  it('lists newest first, page by page', async () => {
    const ledger = await make();
    const records = Array.from({ length: 450 }, (_, at) => aRecord(at));
    for (const record of records) ledger.put(record);
    const first = await ledger.list({ limit: 200 });
    const last = first.at(-1);
    const second = await ledger.list({ limit: 300, before: requestId(last?.id ?? '') });
    expect([...first, ...second].map(({ id }) => id)).toEqual(records.map(({ id }) => id).toReversed());
    await ledger.close();
  });

  it('tells of every record', async () => {
    const ledger = await make();
    const seen: string[] = [];
    ledger.changes$.subscribe(({ state }) => seen.push(state));
    const record = aRecord(0);
    ledger.put(record);
    ledger.put(recordEnd(record, 'failed', unixMs(1)));
    expect(seen).toEqual(['queued', 'failed']);
    await ledger.close();
  });

  it('ends what was left running, and only that', async () => {
    const ledger = await make();
    const running = aRecord(0);
    const succeeded = recordEnd(aRecord(1), 'succeeded', unixMs(1));
    ledger.put({ ...running, state: 'running' });
    ledger.put(succeeded);
    await ledger.flush();
    const error = { code: 'controller.crashed', message: 'crash' };
    expect(await ledger.closeUnfinished(unixMs(7), error)).toBe(1);
    expect(await ledger.get(requestId(running.id))).toMatchObject({ state: 'failed', endedAtMs: 7, error });
    expect(await ledger.get(requestId(succeeded.id))).toEqual(succeeded);
    expect(await ledger.closeUnfinished(unixMs(8), error)).toBe(0);
    await ledger.close();
  });
});

describe('SqliteLedger', () => {
  it('has room for the ends of what is under way when it takes nothing new', async () => {
    const { database, ledger } = await sqlite();
    expect(ledger.hasRoom).toBe(true);
    // The database takes nothing: it waits for this write.
    let stuck = Promise.resolve();
    const go = await new Promise<() => void>((begun) => {
      stuck = database.write(() => new Promise<void>(begun));
    });
    let put = 0;
    while (ledger.hasRoom && put < 20_000) ledger.put(aRecord(put++));
    expect(ledger.hasRoom).toBe(false);
    ledger.put(aRecord(put));
    expect(ledger.dropped).toBe(0);
    go();
    await stuck;
    await ledger.flush();
    expect(ledger.hasRoom).toBe(true);
  });

  it('ends what a controller that is gone has left, and leaves others alone', async () => {
    const { ledger, database } = await sqlite(undefined, {}, 'two/1');
    const journal = openJournal('/dev/null', silentLogger);
    const gone = new SqliteLedger({
      database,
      clock: new ManualClock(),
      log: silentLogger,
      journal,
      owner: () => 'one/1',
    });
    const [left, ended, own] = [aRecord(0), aRecord(1), aRecord(2)];
    gone.put({ ...left, state: 'running' });
    gone.put(recordEnd(ended, 'succeeded', unixMs(1)));
    ledger.put({ ...own, state: 'running' });
    await Promise.all([gone.flush(), ledger.flush()]);
    const error = { code: 'controller.crashed', message: 'gone' };
    const orphans = await closeOrphans(['two/1'], unixMs(7), error, (work) => database.write(work));
    expect(orphans.map(({ id }) => id)).toEqual([left.id]);
    expect(await ledger.get(requestId(left.id))).toMatchObject({ state: 'failed', endedAtMs: 7, error });
    expect(await ledger.get(requestId(ended.id))).toMatchObject({ state: 'succeeded' });
    expect(await ledger.get(requestId(own.id))).toMatchObject({ state: 'running' });
    // It only stood still, and goes on.
    gone.put(recordEnd(left, 'succeeded', unixMs(9)));
    await gone.flush();
    expect(await ledger.get(requestId(left.id))).toMatchObject({ state: 'failed', endedAtMs: 7 });
    expect(await closeOrphans(['two/1'], unixMs(8), error, (work) => database.write(work))).toEqual([]);
    await gone.close();
    await ledger.close();
  });

  it('reads back after a restart', async () => {
    const { ledger, database, open } = await sqlite();
    const record = aRecord(0);
    ledger.put(record);
    await ledger.close();
    await database.close();
    const again = await open();
    expect(await again.ledger.get(requestId(record.id))).toEqual(record);
    await again.ledger.close();
  });

  it('forgets by count and by age', async () => {
    const clock = new ManualClock(1_700_000_000_000);
    const { ledger } = await sqlite(clock, { maxRecords: 5, maxAge: milliseconds(1000) });
    for (let at = 0; at < 9; at++) ledger.put(aRecord(at));
    await ledger.flush();
    await ledger.expire();
    expect((await ledger.list({ limit: 100 })).map(({ receivedAtMs }) => receivedAtMs - 1_700_000_000_000)).toEqual([
      8, 7, 6, 5, 4,
    ]);
    clock.advance(1007);
    await ledger.expire();
    expect((await ledger.list({ limit: 100 })).map(({ receivedAtMs }) => receivedAtMs - 1_700_000_000_000)).toEqual([
      8, 7,
    ]);
    await ledger.close();
  });

  it('goes on when the database does not', async () => {
    const { ledger, database } = await sqlite();
    await database.close();
    ledger.put(aRecord(0));
    await ledger.flush();
    await ledger.close();
  });

  it('has what was put when its process ended before it was written', async () => {
    const { ledger, open, directory } = await sqlite();
    const [running, ended, torn] = [aRecord(0), aRecord(1), aRecord(2)];
    ledger.put(running);
    ledger.put({ ...running, state: 'running' });
    ledger.put(ended);
    ledger.put(recordEnd(ended, 'succeeded', unixMs(2)));
    appendFileSync(join(directory, 'requests.journal'), `\n${JSON.stringify(torn).slice(0, 100)}`);
    const again = await open();
    const error = { code: 'controller.crashed', message: 'crash' };
    expect(await again.ledger.closeUnfinished(unixMs(7), error)).toBe(1);
    expect(await again.ledger.get(requestId(running.id))).toMatchObject({ state: 'failed', endedAtMs: 7, error });
    expect(await again.ledger.get(requestId(ended.id))).toMatchObject({ state: 'succeeded', endedAtMs: 2 });
    expect(await again.ledger.get(requestId(torn.id))).toBeUndefined();
    expect(statSync(join(directory, 'requests.journal')).size).toBe(0);
    await again.ledger.close();
  });

  it('takes no record back from its end', async () => {
    const { ledger, open, directory } = await sqlite();
    const record = aRecord(0);
    ledger.put(record);
    const journal = readFileSync(join(directory, 'requests.journal'));
    ledger.put(recordEnd(record, 'succeeded', unixMs(2)));
    await ledger.close();
    appendFileSync(join(directory, 'requests.journal'), journal);
    const again = await open();
    expect(await again.ledger.closeUnfinished(unixMs(7), { code: 'controller.crashed', message: '' })).toBe(0);
    expect(await again.ledger.get(requestId(record.id))).toMatchObject({ state: 'succeeded' });
    await again.ledger.close();
  });

  it('writes later what the database could not take', async () => {
    const clock = new ManualClock();
    const { database } = await sqlite();
    let isFull = true;
    const ledger = new SqliteLedger({
      database: {
        source: database.source,
        close: () => database.close(),
        write: (work) =>
          isFull
            ? Promise.reject(new FleetError('store.unavailable', 'full', { retryable: true }))
            : database.write(work),
      },
      clock,
      log: silentLogger,
    });
    const record = aRecord(0);
    ledger.put(record);
    await ledger.flush();
    expect(await ledger.get(requestId(record.id))).toEqual(record);
    isFull = false;
    clock.advance(2000);
    await ledger.flush();
    expect(await database.source.query('SELECT id FROM request')).toEqual([{ id: record.id }]);
    await ledger.close();
  });
});

describe('the journal of a ledger', () => {
  it('keeps what the database has not got, also when it is written anew', () => {
    const directory = mkdtempSync(join(tmpdir(), 'fleetgate-journal-'));
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
    const path = join(directory, 'requests.journal');
    const journal = openJournal(path, silentLogger);
    const large = JSON.stringify({ text: 'x'.repeat(2 ** 20) });
    for (let i = 0; i < 9; i++) journal.append(large);
    const small = JSON.stringify({ id: 'a' });
    journal.append(small);
    journal.keepOnly([small]);
    journal.append(JSON.stringify({ id: 'b' }));
    expect(openJournal(path, silentLogger).left).toEqual(['{"id":"a"}', '{"id":"b"}']);
    journal.keepOnly([]);
    journal.close();
    journal.append(small);
    expect(statSync(path)).toMatchObject({ size: 0, mode: 0o100600 });
  });
});
