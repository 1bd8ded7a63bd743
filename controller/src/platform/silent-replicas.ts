import { elapsed, type Milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';

import { ownerOf, type ReplicaRow } from './replica-register.js';

/**
 * Which controllers give no sign of life, by the clock of whoever looks: the clocks of others are not compared with it, only whether
 * their counters move.
 */
export class SilentReplicas {
  readonly #lease: Milliseconds;
  #seen: ReadonlyMap<string, { readonly beats: number; readonly at: UnixMs }> = new Map();

  /** `lease`: silent for so long, a controller is gone. */
  constructor(lease: Milliseconds) {
    this.#lease = lease;
  }

  /** Of `rows`, as they are now, those that have not moved for the lease. Looks have to come more often than that. */
  look(rows: readonly ReplicaRow[], now: UnixMs): readonly ReplicaRow[] {
    const before = this.#seen;
    this.#seen = new Map(
      rows.map((row) => {
        const known = before.get(ownerOf(row));
        return [ownerOf(row), known?.beats === row.beats ? known : { beats: row.beats, at: now }];
      }),
    );
    return rows.filter((row) => elapsed(this.#seen.get(ownerOf(row))?.at ?? now, now) >= this.#lease);
  }

  /** Begins anew: what was seen long ago says nothing. */
  forget(): void {
    this.#seen = new Map();
  }
}
