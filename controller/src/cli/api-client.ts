import type { ErrorBody } from '@fleetgate/shared/api/operations';
import { ERROR_KINDS, type ErrorCode, FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Command } from 'commander';

const DEFAULT_URL = 'http://127.0.0.1:8080';
/** Answers of the operations API come at once; proposing a plan may take as long as the solver is given. */
const TIMEOUT_MS = 120_000;

const KEY_HINT =
  "give the API key with --key or FLEETGATE_API_KEY; it is in the controller's data directory, file api-key";

export interface ConnectOptions {
  readonly url?: string;
  readonly key?: string;
}

/** Options of every command that talks to a running controller. */
export function withConnection(command: Command): Command {
  return command
    .option('--url <url>', `controller to talk to (default: FLEETGATE_URL, or ${DEFAULT_URL})`)
    .option('--key <key>', 'API key (default: FLEETGATE_API_KEY)')
    .option('--json', 'print one JSON document');
}

/** A running controller's HTTP API, as a command sees it. Every failure is a FleetError with the controller's own code. */
export class ApiClient {
  readonly url: string;
  readonly #key: string | undefined;

  constructor(options: ConnectOptions) {
    const url = options.url ?? process.env['FLEETGATE_URL'] ?? DEFAULT_URL;
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new FleetError('usage.invalid', `--url: expected an http or https address, got ${JSON.stringify(url)}`, {
        hint: `for example --url ${DEFAULT_URL}`,
      });
    }
    this.url = url.replace(/\/+$/, '');
    this.#key = options.key ?? process.env['FLEETGATE_API_KEY'];
  }

  get<T>(path: string): Promise<T> {
    return this.#json<T>('GET', path);
  }

  post<T>(path: string, body: object = {}): Promise<T> {
    return this.#json<T>('POST', path, body);
  }

  put<T>(path: string, body: object): Promise<T> {
    return this.#json<T>('PUT', path, body);
  }

  /** For what is answered without a body. */
  async order(path: string): Promise<void> {
    await (await this.request('POST', path, {})).body?.cancel();
  }

  async delete(path: string): Promise<void> {
    await (await this.request('DELETE', path)).body?.cancel();
  }

  /** The answer as it comes, for streams; a status of 400 and more is thrown. */
  async request(method: string, path: string, body?: object, signal?: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { accept: 'application/json' };
    if (this.#key !== undefined) headers['authorization'] = `Bearer ${this.#key}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    let response: Response;
    try {
      response = await fetch(`${this.url}${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: signal ?? AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch (cause) {
      if (signal?.aborted === true) throw cause;
      throw unreachable(this.url, cause);
    }
    if (response.status >= 400) throw await failure(response);
    return response;
  }

  async #json<T>(method: string, path: string, body?: object): Promise<T> {
    const response = await this.request(method, path, body);
    const text = await response.text();
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      throw new FleetError('controller.unreachable', `${this.url}${path} answered something that is not JSON`, {
        hint: 'is this the address of a Fleetgate controller?',
        cause,
      });
    }
  }
}

function unreachable(url: string, cause: unknown): FleetError {
  const reason = cause instanceof Error && cause.cause !== undefined ? messageOf(cause.cause) : messageOf(cause);
  return new FleetError('controller.unreachable', `no controller answers at ${url}: ${reason}`, {
    hint: 'start one with `fleetgate up`, or give its address with --url or FLEETGATE_URL',
    retryable: true,
    cause,
  });
}

async function failure(response: Response): Promise<FleetError> {
  const text = await response.text();
  const body = errorBodyOf(text);
  if (body === undefined) {
    return new FleetError(
      'controller.unreachable',
      `${response.url} answered ${response.status} ${response.statusText}`,
      {
        hint: 'is this the address of a Fleetgate controller?',
      },
    );
  }
  const { message, code, hint } = body.error;
  // The controller's own hint is for those who speak HTTP.
  const shownHint = response.status === 401 ? KEY_HINT : hint;
  return new FleetError(codeOf(code, response.status), message, shownHint === undefined ? {} : { hint: shownHint });
}

function errorBodyOf(text: string): ErrorBody | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || !('error' in value)) return undefined;
    const { error } = value;
    const fits = typeof error === 'object' && error !== null && 'message' in error && typeof error.message === 'string';
    return fits ? (value as ErrorBody) : undefined;
  } catch {
    return undefined;
  }
}

/** Codes that OpenAI's clients know, which the controller sends in place of its own. */
const WIRE_CODES: Readonly<Record<string, ErrorCode>> = {
  model_not_found: 'model.unknown',
  model_loading: 'dispatch.loading',
  energy_budget_exceeded: 'dispatch.over-budget',
  latency_budget_exceeded: 'dispatch.over-latency',
  rate_limit_exceeded: 'dispatch.no-capacity',
  device_lost: 'device.lost',
};

function codeOf(code: string | null, status: number): ErrorCode {
  const known = code === null ? undefined : WIRE_CODES[code];
  if (known !== undefined) return known;
  if (code !== null && Object.hasOwn(ERROR_KINDS, code)) return code as ErrorCode;
  if (status === 401) return 'auth.invalid';
  if (status === 404) return 'request.not-found';
  return status >= 500 ? 'internal.invariant' : 'request.invalid';
}
