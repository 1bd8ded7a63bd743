import { FleetError, messageOf } from '@fleetgate/shared/errors';

/** A busy fleet is asked again as it wishes, this many times. */
const TRIES = 20;
const SHORTEST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
const TIMEOUT_MS = 120_000;

/** An HTTP answer of 400 or more. */
export interface Refused {
  readonly ok: false;
  readonly status: number;
  readonly code: string;
  readonly message: string;
}
export type Posted = { readonly ok: true; readonly response: Response; readonly sentAt: number } | Refused;

/** A running controller's HTTP API as the benchmarks use it: refusals are answers, what passes is waited out. */
export class HttpFleetClient {
  readonly url: string;
  readonly #key: string | undefined;

  constructor(url: string, key: string | undefined) {
    this.url = url.replace(/\/+$/, '');
    this.#key = key;
  }

  /** Throws `controller.unreachable` for anything but a JSON answer. */
  async get<T>(path: string): Promise<T> {
    return (await this.#okay('GET', path)).json() as Promise<T>;
  }

  async put<T>(path: string, body: object): Promise<T> {
    return (await this.#okay('PUT', path, body)).json() as Promise<T>;
  }

  async text(path: string): Promise<string> {
    return (await this.#okay('GET', path)).text();
  }

  /** Repeats while the fleet says that trying again helps; `sentAt` (performance.now) is of the try that counted. */
  async post(path: string, body: object): Promise<Posted> {
    for (let tries = 1; ; tries++) {
      const sentAt = performance.now();
      const response = await this.#send('POST', path, body);
      if (response.ok) return { ok: true, response, sentAt };
      const refused = await refusedBy(response);
      if (tries >= TRIES || response.headers.get('x-should-retry') !== 'true') return refused;
      const wished = Number(response.headers.get('retry-after') ?? 0) * 1000;
      const pause = Math.min(LONGEST_PAUSE_MS, Math.max(SHORTEST_PAUSE_MS, wished));
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  async #okay(method: string, path: string, body?: object): Promise<Response> {
    const response = await this.#send(method, path, body);
    if (response.ok) return response;
    const { status, code, message } = await refusedBy(response);
    throw new FleetError(status < 500 ? 'request.invalid' : 'controller.unreachable', `${method} ${path}: ${message}`, {
      hint: `the controller answered ${status} ${code}`,
    });
  }

  async #send(method: string, path: string, body?: object): Promise<Response> {
    const headers: Record<string, string> = { accept: 'application/json' };
    if (this.#key !== undefined) headers['authorization'] = `Bearer ${this.#key}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    try {
      return await fetch(`${this.url}${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch (cause) {
      const reason = cause instanceof Error && cause.cause !== undefined ? messageOf(cause.cause) : messageOf(cause);
      throw new FleetError('controller.unreachable', `no controller answers at ${this.url}: ${reason}`, {
        hint: 'start one with `fleetgate up`, or give its address with --url',
        cause,
      });
    }
  }
}

async function refusedBy(response: Response): Promise<Refused> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as { error: { code?: string | null; message?: string } };
    return {
      ok: false,
      status: response.status,
      code: error.code ?? '',
      message: error.message ?? `status ${response.status}`,
    };
  } catch {
    return { ok: false, status: response.status, code: '', message: `status ${response.status}` };
  }
}
