import type { AuditBody, AuditView } from '@fleetgate/shared/api/access';
import type { UnixMs } from '@fleetgate/shared/units/quantity';

import type { Database } from '../platform/database.js';
import { type AuditEntry, refusalKey } from './audit-entry.js';

const DAY_MS = 24 * 3_600_000;

export interface AuditSettings {
  readonly keptMs: number;
  /** Of each outcome: refusals, which anybody with a key can cause, push no change out. */
  readonly mostRows: number;
  /** How often rows that are over are removed, in rows that came. */
  readonly pruneEvery: number;
  /** The same refusal to the same actor is kept once within it. */
  readonly refusalMs: number;
}

export const AUDIT_DEFAULTS: AuditSettings = Object.freeze({
  keptMs: 400 * DAY_MS,
  mostRows: 50_000,
  pruneEvery: 100,
  refusalMs: 60_000,
});

/** Refusals that are remembered so as not to be kept again. */
const MOST_REMEMBERED = 1000;

/** Who changed what, in the control database. */
export class SqliteAuditLog {
  readonly #database: Database;
  readonly #settings: AuditSettings;
  readonly #refusals = new Map<string, UnixMs>();
  #unpruned: number;

  constructor(database: Database, settings: AuditSettings = AUDIT_DEFAULTS) {
    this.#database = database;
    this.#settings = settings;
    // The first row after a start finds what a long rest has left over.
    this.#unpruned = settings.pruneEvery;
  }

  /** It is in the database when it resolves with true; false: the same was refused a moment ago. */
  async add(entry: AuditEntry): Promise<boolean> {
    const { atMs, outcome, ...document } = entry;
    if (outcome === 'refused' && this.#isRepeated(entry)) return false;
    this.#unpruned += 1;
    const isDue = this.#unpruned > this.#settings.pruneEvery;
    if (isDue) this.#unpruned = 0;
    await this.#database.write(async (manager) => {
      const values = [atMs, outcome, JSON.stringify(document)];
      await manager.query('INSERT INTO audit (atMs, outcome, document) VALUES (?, ?, ?)', values);
      if (!isDue) return;
      await manager.query('DELETE FROM audit WHERE atMs < ?', [atMs - this.#settings.keptMs]);
      for (const of of ['done', 'refused', 'failed']) {
        await manager.query(
          `DELETE FROM audit WHERE outcome = ? AND id <=
             (SELECT id FROM audit WHERE outcome = ? ORDER BY id DESC LIMIT 1 OFFSET ${this.#settings.mostRows})`,
          [of, of],
        );
      }
    });
    return true;
  }

  /** Newest first; with `before`, those of a smaller number. */
  async list(limit: number, before?: number): Promise<AuditBody> {
    const rows: readonly {
      readonly id: number;
      readonly atMs: number;
      readonly outcome: AuditView['outcome'];
      readonly document: string;
    }[] = await this.#database.source.query('SELECT * FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?', [
      before ?? Number.MAX_SAFE_INTEGER,
      limit + 1,
    ]);
    const items = rows.slice(0, limit).map(({ id, atMs, outcome, document }) => ({
      ...(JSON.parse(document) as Omit<AuditView, 'id' | 'atMs' | 'outcome'>),
      ...{ id, atMs, outcome },
    }));
    return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null };
  }

  #isRepeated(entry: AuditEntry): boolean {
    const key = refusalKey(entry);
    const last = this.#refusals.get(key);
    if (last !== undefined && Math.abs(entry.atMs - last) < this.#settings.refusalMs) return true;
    this.#refusals.delete(key);
    const oldest = this.#refusals.keys().next().value;
    if (this.#refusals.size >= MOST_REMEMBERED && oldest !== undefined) this.#refusals.delete(oldest);
    this.#refusals.set(key, entry.atMs as UnixMs);
    return false;
  }
}
