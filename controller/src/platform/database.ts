import type { DataSource, EntityManager, EntitySchema, MigrationInterface } from 'typeorm';

/** What a feature adds to the control database: its tables and how they came to be. */
export interface DatabaseSchema {
  readonly entities: readonly EntitySchema[];
  readonly migrations: readonly (new () => MigrationInterface)[];
}

/**
 * The control database. Reads go straight to `source`; every write goes through `write`, one after the other:
 * TypeORM shares one SQLite connection, and concurrent transactions on it would join or reject each other.
 */
export interface Database {
  readonly source: DataSource;
  /** Runs `work` in a transaction; rolls back and rejects when it throws. */
  write<T>(work: (manager: EntityManager) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}
