import type { RequestView } from '@fleetgate/shared/api/operations';
import type { RequestId } from '@fleetgate/shared/ids';
import type { UnixMs } from '@fleetgate/shared/units/quantity';
import type { Observable } from 'rxjs';

/** States that a request does not leave. */
export const TERMINAL_STATES: ReadonlySet<RequestView['state']> = new Set([
  'succeeded',
  'failed',
  'refused',
  'cancelled',
]);

/**
 * The decision record of every request, newest kept longest.
 *
 * Ids sort by arrival (`request-record.ts`), so they are also the cursor of `list`.
 */
export interface Ledger {
  /**
   * Keeps `record`, replacing an earlier one of the same request. Never waits, and yet the record outlives this process
   * once it is put; one that cannot be written is dropped and logged, for no answer to a client depends on it.
   */
  put(record: RequestView): void;
  /** False: what comes now could not be kept, for the database has stopped for too long. Absent: never. */
  readonly hasRoom?: boolean;
  /** Also finds what is not yet written. */
  get(id: RequestId): Promise<RequestView | undefined>;
  /**
   * At most `limit` records, newest first; with `before`, those older than that request. Calls of requests that several
   * experts answered are told with these.
   */
  list(query: { readonly limit: number; readonly before?: RequestId | undefined }): Promise<readonly RequestView[]>;
  /**
   * Every record as it is put. One that has ended may come once more, with what its abandoned job has cost: whoever
   * counts ends counts ids.
   */
  readonly changes$: Observable<RequestView>;
  /** Ends, as failed, what a crash left running; returns how many. Called once, before the first `put`. */
  closeUnfinished(at: UnixMs, error: { readonly code: string; readonly message: string }): Promise<number>;
  /** Resolves when everything put so far is written. */
  flush(): Promise<void>;
  /** Flushes; nothing may be put afterwards. */
  close(): Promise<void>;
}

/** `record` as a crash leaves it. */
export function endedByCrash(
  record: RequestView,
  at: UnixMs,
  error: { readonly code: string; readonly message: string },
): RequestView {
  return { ...record, state: 'failed', endedAtMs: at, error };
}
