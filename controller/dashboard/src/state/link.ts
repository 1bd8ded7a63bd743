/** The state of the page's connection to the controller. Pure. */

export type Link =
  | { readonly phase: 'connecting' }
  | { readonly phase: 'live' }
  /** `key` is set when one was tried and refused. */
  | { readonly phase: 'needs-key'; readonly refused: boolean }
  | {
      readonly phase: 'lost';
      /** When the last connection ended; null when there never was one. */
      readonly sinceMs: number | null;
      /** Failed tries in a row. */
      readonly attempt: number;
      readonly retryAtMs: number;
      readonly reason: string;
    };

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

/**
 * Wait before try number `attempt` (from 1): doubles up to 15 s. `chance` in 0..1 takes off up to a quarter, so that
 * many open pages do not all come back in the same instant.
 */
export function retryWaitMs(attempt: number, chance: number): number {
  const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.max(0, attempt - 1));
  return Math.round(wait * (1 - chance / 4));
}
