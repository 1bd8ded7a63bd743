import type { ListBody, RequestView } from '@fleetgate/shared/api/operations';

import type { HttpFleetClient } from '../http-fleet-client.js';
import type { KeptRecord } from './reconcile.js';

const PAGE = 500;
/** A record may still gain the joules of a job that was told to stop this long after its end. */
const SETTLES_MS = 15_000;

const TERMINAL: ReadonlySet<RequestView['state']> = new Set(['succeeded', 'failed', 'refused', 'cancelled']);

/** Collects decision records from `/api/v1/requests` while a load runs: the controller keeps the newest 20,000 only. */
export class RecordSweep {
  readonly #client: HttpFleetClient;
  readonly #kept = new Map<string, KeptRecord>();
  /** Older ones have ended and were read since. */
  #fromMs = 0;
  /** The newest that was seen, and the newest of the phases before. */
  #newest = '';
  #begun = '';

  constructor(client: HttpFleetClient) {
    this.#client = client;
  }

  get records(): Iterable<KeptRecord> {
    return this.#kept.values();
  }

  /** The next phase begins: what was seen belongs to those before. */
  begin(): void {
    this.#kept.clear();
    this.#begun = this.#newest;
  }

  /** Reads every record since the last sweep, and those that had not ended then. Throws as `HttpFleetClient.get` does. */
  async sweep(): Promise<void> {
    let before: string | undefined;
    let newestMs = this.#fromMs;
    let openMs = Infinity;
    for (;;) {
      const cursor = before === undefined ? '' : `&before=${before}`;
      const { items } = await this.#client.get<ListBody<RequestView>>(`/api/v1/requests?limit=${PAGE}${cursor}`);
      for (const record of items) {
        newestMs = Math.max(newestMs, record.receivedAtMs);
        if (!TERMINAL.has(record.state)) openMs = Math.min(openMs, record.receivedAtMs);
        if (record.id > this.#newest) this.#newest = record.id;
        if (record.id > this.#begun) this.#keep(record);
      }
      const last = items.at(-1);
      if (last === undefined || items.length < PAGE || last.receivedAtMs < this.#fromMs) break;
      before = last.id;
    }
    this.#fromMs = Math.min(newestMs - SETTLES_MS, openMs);
  }

  #keep(record: RequestView): void {
    const seen = this.#kept.get(record.id)?.ends ?? new Set();
    this.#kept.set(record.id, keptOf(record, seen));
  }
}

/** `seen`: terminal states that it was in before. */
export function keptOf(record: RequestView, seen: ReadonlySet<RequestView['state']> = new Set()): KeptRecord {
  const { id, state, error, attempts, collaboration, actual, traceParent } = record;
  return {
    id,
    traceId: traceParent?.split('-')[1],
    state,
    code: error?.code,
    attempts: attempts.length,
    hedges: attempts.filter(({ hedge }) => hedge === true).length,
    energyJ: actual?.energyJ ?? 0,
    joint: collaboration !== undefined,
    ends: TERMINAL.has(state) ? new Set([...seen, state]) : seen,
  };
}
