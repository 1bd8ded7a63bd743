import type { TelemetryEvent } from '../telemetry/telemetry-event.js';
import type { CutReason } from './frame-guard.js';
import type { CertificateFault } from './peer-certificate.js';

/** What happened at the broker. `count` says how often since it was last told; names of strangers are clipped. */
export type BrokerEvent =
  | { readonly kind: 'listening'; readonly host: string; readonly port: number; readonly tlsPort: number }
  | {
      readonly kind: 'exited';
      readonly reason: 'crashed' | 'hung' | 'port-taken';
      readonly code: number | null;
      readonly signal: string | null;
      readonly restartInMs: number;
    }
  | { readonly kind: 'session'; readonly state: 'opened' | 'closed'; readonly username: string; readonly count: number }
  | {
      readonly kind: 'authentication-failed';
      readonly username: string;
      readonly remote: string;
      readonly count: number;
    }
  | {
      readonly kind: 'publish-denied';
      readonly username: string;
      readonly topic: string;
      readonly reason: 'foreign-topic' | 'retain-not-allowed';
      readonly count: number;
    }
  | { readonly kind: 'subscribe-denied'; readonly username: string; readonly filter: string; readonly count: number }
  | { readonly kind: 'connection-cut'; readonly username: string; readonly reason: CutReason; readonly count: number }
  | {
      readonly kind: 'certificate-refused';
      readonly reason: CertificateFault;
      readonly commonName: string;
      readonly remote: string;
      readonly count: number;
    }
  | {
      readonly kind: 'handshake-failed';
      readonly reason: 'failed' | 'too-many' | 'too-slow';
      readonly remote: string;
      readonly count: number;
    }
  | {
      readonly kind: 'connection-refused';
      readonly reason: 'too-many' | 'too-many-from-address';
      readonly remote: string;
      readonly count: number;
    }
  /** More kinds of trouble at once than are told one by one. */
  | { readonly kind: 'untold'; readonly count: number }
  | TelemetryEvent;

/** An event that is told once with its count, however often it happens meanwhile. */
export type TalliedEvent = Extract<BrokerEvent, { readonly count: number }>;

const MOST_KINDS = 100;
const MOST_TEXT = 200;

/** Counts like events until they are taken, so that an attacker fills neither the log nor the channel to the parent. */
export class EventTally {
  #events = new Map<string, TalliedEvent>();
  #untold = 0;

  add(event: TalliedEvent): void {
    const clipped = clip(event);
    const key = JSON.stringify({ ...clipped, count: 0 });
    const known = this.#events.get(key);
    if (known !== undefined) this.#events.set(key, { ...known, count: known.count + event.count });
    else if (this.#events.size < MOST_KINDS) this.#events.set(key, clipped);
    else this.#untold += event.count;
  }

  /** All events since the last call; empties the tally. */
  take(): readonly TalliedEvent[] {
    const events = [...this.#events.values()];
    if (this.#untold > 0) events.push({ kind: 'untold', count: this.#untold });
    this.#events = new Map();
    this.#untold = 0;
    return events;
  }
}

function clip(event: TalliedEvent): TalliedEvent {
  const texts = Object.entries(event).map(([name, value]) => [
    name,
    typeof value === 'string' ? value.slice(0, MOST_TEXT) : value,
  ]);
  return Object.fromEntries(texts) as TalliedEvent;
}
