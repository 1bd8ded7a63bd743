import type { RequestView } from '@fleetgate/shared/api/operations';
import type { RequestId } from '@fleetgate/shared/ids';
import type { UnixMs } from '@fleetgate/shared/units/quantity';
import { type Observable, Subject } from 'rxjs';

import { endedByCrash, type Ledger, TERMINAL_STATES } from './ledger.js';

/** A ledger that forgets everything when the process ends, for tests and simulation. Keeps the newest `maxRecords`. */
export class MemoryLedger implements Ledger {
  readonly #records = new Map<string, RequestView>();
  readonly #changes = new Subject<RequestView>();
  readonly #maxRecords: number;

  constructor(maxRecords = 10_000, records: Iterable<RequestView> = []) {
    this.#maxRecords = maxRecords;
    for (const record of records) this.#records.set(record.id, record);
  }

  get changes$(): Observable<RequestView> {
    return this.#changes;
  }

  put(record: RequestView): void {
    this.#records.set(record.id, record);
    if (this.#records.size > this.#maxRecords) {
      const [oldest] = this.#records.keys();
      if (oldest !== undefined) this.#records.delete(oldest);
    }
    this.#changes.next(record);
  }

  async get(id: RequestId): Promise<RequestView | undefined> {
    return this.#records.get(id);
  }

  async list(query: { readonly limit: number; readonly before?: RequestId }): Promise<readonly RequestView[]> {
    return [...this.#records.values()]
      .filter(({ id, callOf }) => callOf === undefined && (query.before === undefined || id < query.before))
      .sort((a, b) => (a.id < b.id ? 1 : -1))
      .slice(0, query.limit);
  }

  async closeUnfinished(at: UnixMs, error: { readonly code: string; readonly message: string }): Promise<number> {
    const open = [...this.#records.values()].filter(({ state }) => !TERMINAL_STATES.has(state));
    for (const record of open) this.#records.set(record.id, endedByCrash(record, at, error));
    return open.length;
  }

  async flush(): Promise<void> {}

  async close(): Promise<void> {
    this.#changes.complete();
  }
}
