import type { Observable } from 'rxjs';

/** What others may have changed: the rows of a table, or anything. */
export type Changed = string;
export const ANYTHING: Changed = '*';

/** Tells that what is kept in the database may have changed, whoever did it: a reason to read it anew, no more. */
export interface SharedChanges {
  readonly changes$: Observable<Changed>;
  close(): Promise<void>;
}
