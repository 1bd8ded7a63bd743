import type { LiveEvent } from '@fleetgate/shared/api/operations';
import type { Clock } from '@fleetgate/shared/clock';
import { milliseconds } from '@fleetgate/shared/units/quantity';

/** Where a client's frames go. `write` answers false when it has taken them but wants a pause. */
export interface LiveClient {
  write(frame: string): boolean;
  /** Bytes that were written and have not left yet. */
  pendingBytes(): number;
  close(): void;
}

/** A client that lets this much pile up does not read: it is closed, and may come back for a fresh snapshot. */
const MOST_PENDING_BYTES = 2 * 1024 * 1024;
const HEARTBEAT = milliseconds(15_000);
const TELEMETRY_PERIOD = milliseconds(1000);
const REQUEST_PERIOD = milliseconds(200);
/** Of the requests that change within a period, the newest so many are told; the rest are to be read by the list. */
const MOST_REQUESTS = 50;

type RequestEvent = Extract<LiveEvent, { readonly type: 'request' }>;
type TelemetryEvent = Extract<LiveEvent, { readonly type: 'telemetry' }>;

/**
 * Tells clients of every change as server-sent events: first how everything is, then what changes.
 *
 * Telemetry is told once a second and device, requests five times a second, newest state only. Nobody waits for a slow
 * client.
 */
export class LiveFeed {
  static readonly MOST_CLIENTS = 100;
  readonly #clients = new Set<LiveClient>();
  readonly #telemetry = new Map<string, TelemetryEvent>();
  readonly #requests = new Map<string, RequestEvent>();
  readonly #snapshot: () => Iterable<LiveEvent>;
  readonly #stops: readonly (() => void)[];

  constructor(snapshot: () => Iterable<LiveEvent>, clock: Clock) {
    this.#snapshot = snapshot;
    this.#stops = [
      clock.every(HEARTBEAT, () => this.#broadcast(': heartbeat\n\n')),
      clock.every(TELEMETRY_PERIOD, () => this.#tellWaiting(this.#telemetry)),
      clock.every(REQUEST_PERIOD, () => this.#tellWaiting(this.#requests)),
    ];
  }

  get size(): number {
    return this.#clients.size;
  }

  /** Adds a client, which is sent everything there is; false when there are too many already. */
  add(client: LiveClient): boolean {
    if (this.#clients.size >= LiveFeed.MOST_CLIENTS) return false;
    let frames = 'retry: 2000\n\n';
    for (const event of this.#snapshot()) frames += frameOf(event);
    this.#clients.add(client);
    this.#send(client, frames);
    return true;
  }

  remove(client: LiveClient): void {
    this.#clients.delete(client);
  }

  tell(event: LiveEvent): void {
    if (this.#clients.size === 0) return;
    if (event.type === 'telemetry') this.#telemetry.set(event.deviceId, merged(this.#telemetry, event));
    else if (event.type === 'request') this.#keepRequest(event);
    else this.#broadcast(frameOf(event));
  }

  close(): void {
    for (const stop of this.#stops) stop();
    for (const client of this.#clients) client.close();
    this.#clients.clear();
  }

  #keepRequest(event: RequestEvent): void {
    this.#requests.delete(event.request.id);
    this.#requests.set(event.request.id, event);
    const [oldest] = this.#requests.keys();
    if (this.#requests.size > MOST_REQUESTS && oldest !== undefined) this.#requests.delete(oldest);
  }

  #tellWaiting(waiting: Map<string, LiveEvent>): void {
    const frames = [...waiting.values()].map(frameOf).join('');
    waiting.clear();
    if (frames !== '') this.#broadcast(frames);
  }

  #broadcast(frames: string): void {
    for (const client of this.#clients) this.#send(client, frames);
  }

  #send(client: LiveClient, frames: string): void {
    if (client.write(frames) || client.pendingBytes() <= MOST_PENDING_BYTES) return;
    this.#clients.delete(client);
    client.close();
  }
}

function merged(waiting: ReadonlyMap<string, TelemetryEvent>, event: TelemetryEvent): TelemetryEvent {
  return { ...event, last: { ...waiting.get(event.deviceId)?.last, ...event.last } };
}

function frameOf(event: LiveEvent): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}
