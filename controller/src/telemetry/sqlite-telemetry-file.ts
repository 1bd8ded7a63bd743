import { rename, rm } from 'node:fs/promises';

import { DataSource } from 'typeorm';

import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';

import { sqliteCode, type SqliteDriver, sqliteOptions } from '../platform/sqlite-driver.js';
import { RollupTable1790000000000 } from './rollup-table.migration.js';

export interface SqliteTelemetryOptions {
  /** Told when a corrupt file was moved aside, with the name it lies under now. */
  readonly onReplaced?: (movedTo: string) => void;
  readonly driver?: SqliteDriver | 'any';
}

/** Opens the file for writing, brought up to date; a corrupt one is moved aside and a fresh one begun. */
export async function openOrReplace(path: string, options: SqliteTelemetryOptions): Promise<DataSource> {
  try {
    return await openChecked(path, options);
  } catch (error) {
    if (!isFleetError(error, 'store.corrupt')) throw error;
  }
  await moveAside(path, options);
  return await openChecked(path, options);
}

async function openChecked(path: string, options: SqliteTelemetryOptions): Promise<DataSource> {
  let source: DataSource | undefined;
  try {
    source = await connect(path, options);
    await source.query('PRAGMA synchronous = NORMAL');
    const rows: readonly Readonly<Record<string, unknown>>[] = await source.query('PRAGMA quick_check(1)');
    const answer = Object.values(rows[0] ?? {})[0];
    if (answer !== 'ok')
      throw new FleetError('store.corrupt', `telemetry database ${path} is damaged: ${String(answer)}`);
    await source.runMigrations({ transaction: 'all' });
    return source;
  } catch (error) {
    await source?.destroy().catch(() => {});
    throw translate(error, path);
  }
}

/** Makes room for a fresh file: `<path>.corrupt` takes the place of an earlier one of that name. */
export async function moveAside(path: string, options: SqliteTelemetryOptions): Promise<void> {
  const aside = `${path}.corrupt`;
  try {
    await rename(path, aside);
    for (const suffix of ['-wal', '-shm']) await rm(`${path}${suffix}`, { force: true });
  } catch (error) {
    throw translate(error, path);
  }
  options.onReplaced?.(aside);
}

/** Opens the file as it is. */
export async function connect(path: string, { driver = 'any' }: SqliteTelemetryOptions): Promise<DataSource> {
  return await new DataSource(await sqliteOptions(path, [RollupTable1790000000000], driver)).initialize();
}

/** What SQLite and the file system report, with a code of ours. */
export function translate(error: unknown, path: string): FleetError {
  if (isFleetError(error)) return error;
  const what = `telemetry database ${path}`;
  const text = messageOf(error);
  const code = sqliteCode(error);
  if (/NOTADB|CORRUPT/.test(code) || /not a database|malformed/.test(text)) {
    return new FleetError('store.corrupt', `${what} is damaged: ${text}`, { cause: error });
  }
  if (/READONLY|CANTOPEN|EACCES|EROFS|EPERM|ENOTDIR|EEXIST/.test(code)) {
    return new FleetError('data-dir.not-writable', `${what} cannot be written: ${text}`, {
      cause: error,
      hint: 'choose a directory you may write to with --data',
    });
  }
  return new FleetError('store.unavailable', `${what} cannot be used now: ${text}`, {
    cause: error,
    retryable: true,
    hint: 'check that the disk of the data directory is not full',
  });
}
