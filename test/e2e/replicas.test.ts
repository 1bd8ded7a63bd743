import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import mqtt from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { ListBody, RequestView, StatusView } from '@fleetgate/shared/api/operations';

import { hasMosquitto, makeMosquitto, type Mosquitto, NO_MOSQUITTO } from '../support/mosquitto.ts';
import { hasPostgres, makePostgres, NO_POSTGRES, type Postgres } from '../support/postgres.ts';
import { getJson, type RunningProcess, startFleetgate, until } from '../support/running-fleet.ts';

const missing = [...(hasMosquitto ? [] : [NO_MOSQUITTO]), ...(hasPostgres ? [] : [NO_POSTGRES])];
const PASSWORD = 'the-same-for-both';
const NAMES = ['one', 'two'] as const;
type Name = (typeof NAMES)[number];
const otherOf = (name: Name): Name => (name === 'one' ? 'two' : 'one');

interface Answered {
  readonly key: string;
  /** Of the request that was answered. */
  readonly id: string;
  readonly tries: number;
}

describe.skipIf(missing.length > 0)(`two controllers of one fleet${missing.map((why) => ` (${why})`).join('')}`, () => {
  let folder: string;
  let database: Postgres;
  let broker: Mosquitto;
  let listener: mqtt.MqttClient;
  const controllers = new Map<Name, RunningProcess<{ dashboard: string; mosquittoConfig: string }>>();
  const urls = new Map<Name, string>();
  const agents: RunningProcess<object>[] = [];
  /** By device and generation, each content that was heard of it. */
  const documents = new Map<string, Set<string>>();

  const start = async (name: Name): Promise<void> => {
    const controller = startFleetgate<{ dashboard: string; mosquittoConfig: string }>(
      [
        ...['controller', '--replica', name, '--data', join(folder, name), '--experts', join(folder, 'experts')],
        ...['--http-port', new URL(urls.get(name) ?? 'http://x:0').port || '0', '--database', database.url],
        ...['--broker-url', broker.url, '--broker-files', broker.filesDir],
      ],
      { FLEETGATE_BROKER_PASSWORD: PASSWORD },
    );
    controllers.set(name, controller);
    urls.set(name, (await controller.first).dashboard.replace(/\/$/, ''));
  };
  const enrol = async (name: string, by: Name): Promise<void> => {
    const agent = startFleetgate<object>(
      [
        ...['agent', '--controller', urls.get(by) ?? '', '--board', 'raspberry-pi-5', '--name', name],
        ...['--data', join(folder, name), '--threads', '1'],
      ],
      { FLEETGATE_JOIN_TOKEN: readFileSync(join(folder, by, 'join-token'), 'utf8').trim() },
    );
    agents.push(agent);
    const passwords = (): string => readFileSync(join(broker.filesDir, 'passwords'), 'utf8');
    await until(() => passwords().includes(`\n${name}:`), `${name} has a password`);
    broker.reload();
    await agent.first;
  };
  const status = (name: Name) => getJson<StatusView>(`${urls.get(name)}/api/v1/status`);
  const leader = async (): Promise<Name | undefined> => {
    const all = await Promise.all(
      NAMES.map(async (name) => ((await status(name)).replica?.leads === true ? [name] : [])),
    );
    return all.flat()[0];
  };
  const ready = () =>
    until(
      async () => {
        const [one, two] = await Promise.all(NAMES.map(status));
        return one?.ready === true && two?.ready === true && one.activePlanId === two.activePlanId && (await answers());
      },
      'both serve the same plan',
      120_000,
    );
  const answers = async (): Promise<boolean> => {
    const asked = await Promise.all(NAMES.map((name) => ask(name, `probe ${name} ${Date.now()}`)));
    return asked.every((response) => response?.ok === true);
  };

  /** Undefined where the connection broke. */
  async function ask(name: Name, key?: string): Promise<{ readonly ok: boolean; readonly id: string } | undefined> {
    try {
      const response = await fetch(`${urls.get(name)}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(key === undefined ? {} : { 'idempotency-key': key }) },
        body: JSON.stringify({
          model: 'math',
          messages: [{ role: 'user', content: `What is 3 + 4? (${key})` }],
          max_tokens: 4,
        }),
        signal: AbortSignal.timeout(60_000),
      });
      await response.text();
      return { ok: response.ok, id: response.headers.get('x-request-id') ?? '' };
    } catch {
      return undefined;
    }
  }

  /** A client that asks one thing after the other, and the same again at the other controller until it is answered. */
  async function client(number: number, isOver: () => boolean): Promise<readonly Answered[]> {
    const answered: Answered[] = [];
    for (let n = 0; !isOver(); n++) {
      const key = `client ${number} request ${n}`;
      let name: Name = (number + n) % 2 === 0 ? 'one' : 'two';
      for (let tries = 1; ; tries++) {
        const response = await ask(name, key);
        if (response?.ok === true) {
          answered.push({ key, id: response.id, tries });
          break;
        }
        if (tries > 200) throw new Error(`${key} is not answered`);
        name = otherOf(name);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    return answered;
  }

  /** Has four clients ask while `disturb` goes on. */
  async function underLoad(disturb: () => Promise<void>): Promise<readonly Answered[]> {
    let isOver = false;
    const clients = [0, 1, 2, 3].map((number) => client(Date.now() + number, () => isOver));
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await disturb();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    isOver = true;
    return (await Promise.all(clients)).flat();
  }

  const underWay = async (name: Name): Promise<readonly RequestView[]> => {
    const { items } = await getJson<ListBody<RequestView>>(`${urls.get(name)}/api/v1/requests?limit=200`);
    return items.filter(({ state }) => state === 'queued' || state === 'running');
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'fleetgate-replicas-'));
    const from = fileURLToPath(new URL('../../experts/math', import.meta.url));
    cpSync(from, join(folder, 'experts', 'math'), { recursive: true });
    [database, broker] = await Promise.all([makePostgres(), makeMosquitto()]);
    await database.start();
    await Promise.all(NAMES.map(start));
    const passwords = join(broker.filesDir, 'passwords');
    const hasWritten = (): boolean =>
      existsSync(passwords) && readFileSync(passwords, 'utf8').startsWith('controller:');
    await until(hasWritten, 'the leader has written what the broker needs');
    await broker.configure((await controllers.get('one')?.first)?.mosquittoConfig ?? '');
    await broker.start();
    listener = await mqtt.connectAsync(broker.url, {
      username: 'controller',
      password: PASSWORD,
      clientId: 'listener',
    });
    listener.on('message', (topic, payload) => {
      const { generation, ...content } = JSON.parse(payload.toString()) as { generation: number };
      const key = `${topic} ${generation}`;
      documents.set(key, (documents.get(key) ?? new Set()).add(JSON.stringify(content)));
    });
    await listener.subscribeAsync('fleetgate/v1/home/+/desired', { qos: 1 });
    await Promise.all([enrol('pi', 'one'), enrol('phone', 'two')]);
    await ready();
  }, 240_000);

  afterAll(async () => {
    listener.end(true);
    const codes = await Promise.all([...agents, ...controllers.values()].map((process) => process.stop()));
    await broker.remove();
    await database.remove();
    rmSync(folder, { recursive: true, force: true });
    expect(codes).toEqual(codes.map(() => 0));
  }, 60_000);

  it('loses no request when the one that leads is killed, and the other leads', async () => {
    const killed = (await leader()) ?? 'one';
    const left = otherOf(killed);
    let tookMs = 0;
    const answered = await underLoad(async () => {
      const at = Date.now();
      process.kill(controllers.get(killed)?.pid ?? 0, 'SIGKILL');
      await until(async () => (await status(left)).replica?.leads === true, 'the other leads');
      tookMs = Date.now() - at;
    });
    process.stderr.write(`      the other leads after ${tookMs} ms; ${answered.length} requests answered\n`);
    expect(tookMs).toBeLessThan(10_000);
    expect(answered.some(({ tries }) => tries > 1)).toBe(true);
    expect(new Set(answered.map(({ id }) => id)).size).toBe(answered.length);
    await until(async () => (await underWay(left)).length === 0, 'what the killed one had has ended');
    await start(killed);
    await ready();
    expect(await leader()).toBe(left);
  }, 120_000);

  it('loses none when the one that leads is told to stop, and comes back', async () => {
    const stopped = (await leader()) ?? 'one';
    let code: number | null = null;
    const answered = await underLoad(async () => {
      code = (await controllers.get(stopped)?.stop()) ?? null;
      await until(async () => (await status(otherOf(stopped))).replica?.leads === true, 'the other leads');
    });
    expect(code).toBe(0);
    expect(new Set(answered.map(({ id }) => id)).size).toBe(answered.length);
    await start(stopped);
    await ready();
    expect(await underWay(stopped)).toEqual([]);
  }, 120_000);

  it('answers without its database, keys aside, and has it all when that is back', async () => {
    await database.stop();
    const answered = [await ask('one'), await ask('two')];
    expect(answered.map((answer) => answer?.ok)).toEqual([true, true]);
    expect(await ask('one', 'a key that nobody can claim')).toMatchObject({ ok: false });
    await database.start();
    await until(async () => (await leader()) !== undefined, 'one leads again');
    const isKept = async (id = ''): Promise<boolean> => {
      const response = await fetch(`${urls.get('two')}/api/v1/requests/${id}`);
      return response.ok && ((await response.json()) as RequestView).state === 'succeeded';
    };
    for (const answer of answered) await until(() => isKept(answer?.id), 'what was answered is kept');
    await ready();
  }, 60_000);

  it('has never given a device two documents of one generation', () => {
    expect(documents.size).toBeGreaterThan(0);
    expect([...documents].filter(([, contents]) => contents.size > 1)).toEqual([]);
  });
});
