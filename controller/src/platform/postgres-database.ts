import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import { DataSource, type EntityManager, type QueryRunner } from 'typeorm';

import type { Database, DatabaseSchema } from './database.js';
import { watchTables } from './postgres-changes.js';
import { toPostgres } from './postgres-dialect.js';

/** The oldest server that this was run on. */
const OLDEST_VERSION = 13;
const MOST_CONNECTIONS = 10;
/** Writes that may wait for their turn; more than that means that the server has stopped. */
const MOST_WAITING = 10_000;
const CONNECT_DEADLINE_MS = 5_000;
const STATEMENT_DEADLINE_MS = 30_000;
/** A process that stands still in the midst of a transaction keeps others from its rows no longer than this. */
const IDLE_TRANSACTION_MS = 3_000;
/** What controllers that start at once take turns by while they bring the tables up to date. */
const MIGRATION_LOCK = 7_331_001;

/** How the server is reached, for a connection of its own. */
export interface PostgresDatabase extends Database {
  /** Another pool of so many connections, for statements in PostgreSQL's own words. */
  connect(connections: number): Promise<DataSource>;
}

/**
 * Opens the database at `url`, `postgres://user:password@host:port/name`, and brings it up to date by the migrations of `schemas`;
 * of controllers that start at once, one after the other.
 *
 * Writes of this process come one after the other, in the order in which they are asked for. Throws `store.unavailable`: no
 * server answers, it is too old, refuses the user, or was brought up to date by a later release; and `setup.missing`.
 */
export async function openPostgres(url: string, schemas: readonly DatabaseSchema[]): Promise<PostgresDatabase> {
  let source: DataSource | undefined;
  try {
    source = await connectPostgres(url, MOST_CONNECTIONS, schemas);
    speakPostgres(source);
    await checkVersion(source);
    await migrate(source);
    return new PooledPostgres(source, (connections) => connectPostgres(url, connections));
  } catch (error) {
    if (source?.isInitialized === true) await source.destroy();
    throw translate(error);
  }
}

/** So many connections to the server at `url`, with the tables of `schemas` as they are. Rejects as the driver does. */
export async function connectPostgres(
  url: string,
  connections: number,
  schemas: readonly DatabaseSchema[] = [],
): Promise<DataSource> {
  const source = new DataSource({
    type: 'postgres',
    url,
    entities: schemas.flatMap(({ entities }) => entities),
    migrations: schemas.flatMap(({ migrations }) => migrations),
    parseInt8: true,
    poolSize: connections,
    connectTimeoutMS: CONNECT_DEADLINE_MS,
    applicationName: 'fleetgate',
    // A server that ends its connections is found out by the next statement.
    poolErrorHandler: () => {},
    extra: {
      keepAlive: true,
      statement_timeout: STATEMENT_DEADLINE_MS,
      idle_in_transaction_session_timeout: IDLE_TRANSACTION_MS,
    },
  });
  await source.initialize();
  return source;
}

class PooledPostgres implements PostgresDatabase {
  readonly source: DataSource;
  readonly connect: (connections: number) => Promise<DataSource>;
  /** Never rejects. */
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;
  #closed = false;

  constructor(source: DataSource, connect: (connections: number) => Promise<DataSource>) {
    this.source = source;
    this.connect = connect;
  }

  async write<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    if (this.#closed || this.#waiting >= MOST_WAITING) {
      const why = this.#closed ? 'is closed' : `has ${this.#waiting} writes waiting`;
      throw new FleetError('store.unavailable', `the database ${why}`, { retryable: !this.#closed });
    }
    this.#waiting += 1;
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#tail = this.#tail.then(() => this.source.transaction(work).then(resolve, reject));
      });
    } catch (error) {
      throw translate(error);
    } finally {
      this.#waiting -= 1;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#tail;
    await this.source.destroy();
  }
}

/** Has every statement go through the dialect, whoever makes it. */
function speakPostgres(source: DataSource): void {
  const { driver } = source;
  const create = driver.createQueryRunner.bind(driver);
  driver.createQueryRunner = (mode): QueryRunner => {
    const runner = create(mode);
    const query = runner.query.bind(runner) as (...args: unknown[]) => Promise<unknown>;
    runner.query = (sql: string, ...rest: unknown[]) => query(toPostgres(sql), ...rest) as Promise<never>;
    return runner;
  };
}

async function checkVersion(source: DataSource): Promise<void> {
  const [row]: { readonly server_version: string }[] = await source.query('SHOW server_version');
  const version = row?.server_version ?? 'unknown';
  if (Number.parseInt(version, 10) >= OLDEST_VERSION) return;
  throw new FleetError('store.unavailable', `the PostgreSQL server is of version ${version}, expected 13 or newer`, {
    hint: 'take a newer server: https://www.postgresql.org/support/versioning lists those that are maintained',
  });
}

async function migrate(source: DataSource): Promise<void> {
  const runner = source.createQueryRunner();
  try {
    await runner.query(`SELECT pg_advisory_lock(${MIGRATION_LOCK})`);
    await checkNotNewer(source);
    await source.runMigrations({ transaction: 'all' });
    await watchTables(source);
  } finally {
    await runner.query(`SELECT pg_advisory_unlock(${MIGRATION_LOCK})`).catch(() => {});
    await runner.release();
  }
}

/** A database that a later release has changed is left alone: its tables may mean something else by now. */
async function checkNotNewer(source: DataSource): Promise<void> {
  const [found]: { readonly table: string | null }[] = await source.query("SELECT to_regclass('migrations') AS table");
  if (found?.table == null) return;
  const done: readonly { readonly name: string }[] = await source.query('SELECT name FROM migrations');
  const known = new Set(source.migrations.map((migration) => migration.name ?? migration.constructor.name));
  const unknown = done.find(({ name }) => !known.has(name));
  if (unknown === undefined) return;
  throw new FleetError(
    'store.unavailable',
    `the database was written by another release (it has the change ${unknown.name}, which this one does not know)`,
    { hint: 'start the release that wrote it, or give another database' },
  );
}

/** Of what the server says, that may pass: it starts, stops, has no connection left, or gave up one of two that wait for each other. */
const MAY_PASS = /^(?:08...|57P0[1-3]|53[34]00|40001|40P01|55P03|57014)$/;
const MAY_PASS_HERE = /^(?:ECONNREFUSED|ECONNRESET|ETIMEDOUT|EPIPE|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN)$/;

/** FleetErrors and errors of our own code pass; what the server or the line to it reports gets a code. */
export function translate(error: unknown): unknown {
  if (isFleetError(error)) return error;
  const text = messageOf(error);
  if (/package has not been found installed/.test(text)) {
    return new FleetError('setup.missing', 'the PostgreSQL driver cannot be loaded', {
      hint: 'run npm install again: it is the package pg',
      cause: error,
    });
  }
  const code = codeOf(error);
  const isLineGone = /Connection terminated|timeout exceeded when trying to connect|Client has encountered/.test(text);
  const mayPass = isLineGone || MAY_PASS.test(code) || MAY_PASS_HERE.test(code);
  const isRefused = /^(?:28...|3D000|42501|ENOTFOUND|SELF_SIGNED|DEPTH_ZERO)/.test(code);
  if (!mayPass && !isRefused) return error;
  return new FleetError('store.unavailable', `the PostgreSQL server cannot be used now: ${text || code}`, {
    retryable: mayPass,
    hint: isRefused ? 'check the user, the password and the name of the database in --database' : 'is the server up?',
    cause: error,
  });
}

function codeOf(error: unknown): string {
  for (const candidate of [error, error instanceof Error && 'driverError' in error ? error.driverError : undefined]) {
    if (candidate instanceof Error && 'code' in candidate && typeof candidate.code === 'string') return candidate.code;
  }
  return '';
}
