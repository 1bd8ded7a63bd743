/** Calls to the controller that served this page. */
import { failureOf } from './failure.js';

const ANSWER_DEADLINE_MS = 10_000;
/** Solving a plan takes longer than reading one. */
const CHANGE_DEADLINE_MS = 60_000;
const NO_CONTENT = 204;
const KEY = 'fleetgate.apiKey';

export interface Client {
  get<T>(path: string): Promise<T>;
  /** Undefined where the answer has no body. */
  send<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<T>;
  /** The open response; its body is the caller's to read. Throws ApiFailure unless the status is 2xx. */
  open(path: string, init: RequestInit): Promise<Response>;
}

export interface KeyStore {
  read(): string | null;
  write(key: string): void;
}

/** The key lives as long as the tab does. */
export const sessionKeyStore: KeyStore = {
  read: () => sessionStorage.getItem(KEY),
  write: (key) => sessionStorage.setItem(KEY, key),
};

export function createClient(base: string, keys: KeyStore): Client {
  async function open(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    const key = keys.read();
    if (key !== null) headers.set('authorization', `Bearer ${key}`);
    if (init.body !== undefined && init.body !== null) headers.set('content-type', 'application/json');
    const response = await fetch(new URL(path, base), { ...init, headers, cache: 'no-store' });
    if (!response.ok) throw failureOf(response.status, await response.text());
    return response;
  }

  async function json<T>(path: string, init: RequestInit): Promise<T> {
    const response = await open(path, init);
    return (response.status === NO_CONTENT ? undefined : await response.json()) as T;
  }

  return {
    open,
    get: (path) => json(path, { signal: AbortSignal.timeout(ANSWER_DEADLINE_MS) }),
    send: (method, path, body) =>
      json(path, {
        method,
        signal: AbortSignal.timeout(CHANGE_DEADLINE_MS),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
  };
}
