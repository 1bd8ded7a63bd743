/**
 * A fixture: a real HTTP server with the built page and a small deterministic controller API behind it, so that the
 * dashboard is tested on its own. Its content security policy is as strict as the page allows.
 */
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';

import type {
  Budgets,
  DeviceView,
  LiveEvent,
  PlanView,
  RequestView,
  StatusView,
} from '@fleetgate/shared/api/operations';
import { systemClock } from '@fleetgate/shared/clock';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import { FixtureAccess } from './dashboard-fixture-access.js';
import { DEVICES, deviceView, EXPERTS, expertViews, sampleOf, variantOf } from './dashboard-fixture-fleet.js';
import { planFor, START_BUDGETS } from './dashboard-fixture-plan.js';
import { FixtureRollouts } from './dashboard-fixture-rollouts.js';
import { chooseExpert, endedRequest } from './dashboard-fixture-requests.js';

const PAGE = new URL('../../controller/dist/dashboard/', import.meta.url).pathname;
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};
const POLICY = "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";
const TOKEN_GAP_MS = 25;
const PROMPTS = [
  'Tom has 12 apples and gives 5 away.',
  'Write a function that adds.',
  'Common signs of a cold?',
  'Stock or bond?',
  'Hi! How was your day?',
  'Explain rain.',
];

export interface DashboardFixture {
  readonly url: string;
  /** Ends every connection and takes no new ones, as when the controller is killed. */
  stop(): Promise<void>;
  /** Listens again on the same port, with the state that it had. */
  restart(): Promise<void>;
  /** What the page asked for that is not there. */
  readonly unknownPaths: readonly string[];
}

export interface FixtureOptions {
  /** Without devices, plans and requests: the first seconds of a new fleet. */
  readonly empty?: boolean;
  readonly apiKey?: string;
}

export async function startDashboardFixture(options: FixtureOptions = {}): Promise<DashboardFixture> {
  const fixture = new Fixture(options);
  await fixture.listen(0);
  return fixture;
}

class Fixture implements DashboardFixture {
  readonly unknownPaths: string[] = [];
  readonly #options: FixtureOptions;
  readonly #startedAtMs = systemClock.now();
  readonly #access = new FixtureAccess(this.#startedAtMs);
  readonly #rollouts = new FixtureRollouts(this.#startedAtMs);
  readonly #devices = new Map<string, DeviceView>();
  readonly #listeners = new Set<ServerResponse>();
  readonly #running = new Map<string, number>();
  #budgets: Budgets = START_BUDGETS;
  #plans: PlanView[] = [];
  #requests: RequestView[] = [];
  #server: Server | null = null;
  #port = 0;
  #tick = 0;
  #nextId = 1;
  #stopTicking: () => void = () => undefined;

  constructor(options: FixtureOptions) {
    this.#options = options;
    if (options.empty === true) return;
    const now = this.#startedAtMs;
    for (const device of DEVICES) this.#devices.set(device.id, deviceView(device, now, sampleOf(device, 0, 0)));
    const earlier = planFor({ ...START_BUDGETS, fleetPowerW: 12 }, 'plan-1', now - 800_000, 'device joined');
    this.#plans = [
      planFor(START_BUDGETS, 'plan-2', now - 190_000, 'budget changed'),
      { ...earlier, state: 'superseded' },
    ];
    this.#nextId = 3;
    this.#requests = Array.from({ length: 48 }, (_, i) =>
      endedRequest(`req-${i}`, now - 20_000 - i * 17_500 - (i % 5) * 1900, PROMPTS[i % 6] ?? '', 'auto', 'plan-2'),
    );
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async listen(port: number): Promise<void> {
    const server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        if (!response.headersSent) sendError(response, 500, 'internal.invariant', String(error));
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
    this.#stopTicking = systemClock.every(milliseconds(1000), () => this.#everySecond());
  }

  async stop(): Promise<void> {
    this.#stopTicking();
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
    this.#listeners.clear();
  }

  restart(): Promise<void> {
    return this.listen(this.#port);
  }

  #everySecond(): void {
    this.#tick += 1;
    const atMs = systemClock.now();
    for (const device of DEVICES) {
      const view = this.#devices.get(device.id);
      if (view === undefined) continue;
      const last = sampleOf(device, this.#tick, this.#running.get(device.id) ?? 0);
      this.#devices.set(device.id, { ...view, last, lastSampleMs: atMs, lastSeenMs: atMs });
      this.#tell({ type: 'telemetry', deviceId: device.id, atMs, last });
    }
  }

  #tell(event: LiveEvent): void {
    for (const listener of this.#listeners) listener.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    const path = url.pathname;
    if (!path.startsWith('/api/') && !path.startsWith('/v1/')) return this.#page(path, response);
    const { apiKey } = this.#options;
    if (apiKey !== undefined && request.headers.authorization !== `Bearer ${apiKey}`) {
      return sendError(response, 401, 'auth.missing', 'An API key is needed.');
    }
    switch (`${request.method ?? 'GET'} ${path}`) {
      case 'GET /api/v1/status':
        return send(response, this.#status());
      case 'GET /api/v1/devices':
        return send(response, { items: [...this.#devices.values()] });
      case 'GET /api/v1/experts':
        return send(response, { items: expertViews(this.#startedAtMs) });
      case 'GET /api/v1/plans':
        return send(response, { items: this.#plans });
      case 'GET /api/v1/budgets':
        return send(response, this.#budgets);
      case 'PUT /api/v1/budgets':
        return this.#setBudgets(JSON.parse(await textOf(request)) as Budgets, response);
      case 'POST /api/v1/plans/rollback':
        return this.#rollback(response);
      case 'GET /api/v1/requests':
        return send(response, { items: this.#requests });
      case 'GET /api/v1/telemetry':
        return send(response, this.#telemetry(url.searchParams.get('device') ?? ''));
      case 'GET /api/v1/events':
        return this.#events(response);
      case 'GET /v1/models':
        return send(response, {
          object: 'list',
          data: ['auto', 'auto:eco', ...EXPERTS.flatMap(({ id }) => [id, variantOf(id)])].map((id) => ({
            id,
            object: 'model',
          })),
        });
      case 'POST /v1/chat/completions':
        return this.#chat(JSON.parse(await textOf(request)) as ChatBody, response);
      default:
    }
    const found = this.#requests.find((each) => path === `/api/v1/requests/${each.id}`);
    if (found !== undefined) return send(response, found);
    const text = await textOf(request);
    const method = request.method ?? 'GET';
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    const answer = this.#access.answer(method, path, body) ?? this.#rollouts.answer(method, path);
    if (answer !== undefined) return send(response, answer.body, answer.status);
    this.unknownPaths.push(path);
    return sendError(response, 404, 'request.not-found', `There is nothing at ${path}.`);
  }

  async #page(path: string, response: ServerResponse): Promise<void> {
    const file = join(PAGE, normalize(path === '/' ? '/index.html' : path));
    try {
      const content = await readFile(file);
      response.writeHead(200, {
        'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
        'content-security-policy': POLICY,
      });
      response.end(content);
    } catch {
      this.unknownPaths.push(path);
      sendError(response, 404, 'request.not-found', `There is no ${path}.`);
    }
  }

  #status(): StatusView {
    return {
      fleet: 'home',
      version: '0.1.0',
      ready: true,
      startedAtMs: this.#startedAtMs,
      broker: 'connected',
      gate: { state: 'ready', why: null, experts: EXPERTS.length, trainedOn: 1800 },
      devices: { total: this.#devices.size, online: this.#devices.size },
      activePlanId: this.#plans.find((plan) => plan.state === 'active')?.id ?? null,
      mqttUrl: 'mqtt://127.0.0.1:1883',
    };
  }

  #telemetry(id: string) {
    const device = DEVICES.find((each) => each.id === id);
    const points = Array.from({ length: 15 }, (_, i) => {
      const mean = device === undefined ? 0 : (sampleOf(device, (i - 15) * 60, 0).powerW ?? 0);
      return { atMs: this.#startedAtMs - (15 - i) * 60_000, mean, min: mean, max: mean, n: 60 };
    });
    return { device: id, metric: 'powerW', stepMs: 60_000, points };
  }

  #events(response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
    response.write(': open\n\n');
    this.#listeners.add(response);
    response.on('close', () => this.#listeners.delete(response));
  }

  #setBudgets(budgets: Budgets, response: ServerResponse): void {
    this.#budgets = budgets;
    send(response, budgets);
    this.#tell({ type: 'budgets', budgets });
    systemClock.after(milliseconds(150), () =>
      this.#take(planFor(budgets, `plan-${this.#nextId++}`, systemClock.now(), 'budget changed')),
    );
  }

  #rollback(response: ServerResponse): void {
    const earlier = this.#plans.find((plan) => plan.state === 'superseded');
    if (earlier === undefined) return sendError(response, 409, 'plan.unknown', 'There is no earlier plan.');
    const now = systemClock.now();
    const plan: PlanView = {
      ...earlier,
      id: `plan-${this.#nextId++}`,
      state: 'active',
      createdAtMs: now,
      activatedAtMs: now,
    };
    send(response, { ...plan, trigger: 'rolled back' });
    this.#take({ ...plan, trigger: 'rolled back' });
  }

  #take(plan: PlanView): void {
    if (plan.state === 'active') {
      this.#plans = this.#plans.map((each) => (each.state === 'active' ? { ...each, state: 'superseded' } : each));
    }
    this.#plans = [plan, ...this.#plans];
    this.#tell({ type: 'plan', plan });
  }

  async #chat(body: ChatBody, response: ServerResponse): Promise<void> {
    const prompt = body.messages.at(-1)?.content ?? '';
    const { expert, device } = chooseExpert(body.model, prompt);
    const id = `chat-${this.#nextId++}`;
    const ended = endedRequest(id, systemClock.now(), prompt, body.model, this.#plans[0]?.id ?? 'none');
    const running: RequestView = { ...ended, state: 'running', endedAtMs: null, actual: null, finishReason: null };
    this.#record(running);
    this.#running.set(device, (this.#running.get(device) ?? 0) + 1);
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'x-request-id': id,
      'x-fleetgate-expert': expert,
      'x-fleetgate-device': device,
    });
    const words = `You asked: “${prompt}” This is a fixture's answer, streamed word by word. `
      .repeat(2)
      .split(/(?<= )/);
    for (const content of words) {
      if (response.destroyed) break;
      response.write(frame({ choices: [{ index: 0, delta: { content }, finish_reason: null }] }));
      await new Promise<void>((resolve) => systemClock.after(milliseconds(TOKEN_GAP_MS), resolve));
    }
    this.#running.set(device, (this.#running.get(device) ?? 1) - 1);
    const cut = response.destroyed;
    this.#record(cut ? { ...running, state: 'cancelled', endedAtMs: systemClock.now() } : ended);
    if (cut) return;
    response.end(`${frame({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}data: [DONE]\n\n`);
  }

  #record(request: RequestView): void {
    this.#requests = [request, ...this.#requests.filter((each) => each.id !== request.id)];
    this.#tell({ type: 'request', request });
  }
}

interface ChatBody {
  readonly model: string;
  readonly messages: readonly { readonly content: string }[];
}

const frame = (body: unknown): string => `data: ${JSON.stringify(body)}\n\n`;

function send(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}

function sendError(response: ServerResponse, status: number, code: string, message: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code } }));
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
