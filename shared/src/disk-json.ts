import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';

import type { z } from 'zod';

import { check } from './check.js';
import { FleetError, messageOf } from './errors.js';

/** The JSON document at `path` by `schema`; undefined when there is none. Throws `store.corrupt`. Blocks. */
export function readJsonFile<T>(path: string, schema: z.ZodType<T>): T | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new FleetError('store.corrupt', `${path} cannot be read: ${messageOf(cause)}`, { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FleetError('store.corrupt', `${path}: not JSON: ${messageOf(cause)}`, { cause });
  }
  return check(schema, value, 'store.corrupt', path);
}

/** Replaces the document at `path` whole: a crash leaves the old or the new one, never half of it. Blocks. */
export function writeJsonFile(path: string, value: unknown, mode = 0o600): void {
  writeTextFile(path, JSON.stringify(value), mode);
}

/** As `writeJsonFile`, for any text. */
export function writeTextFile(path: string, text: string, mode: number): void {
  const temporary = `${path}.new`;
  rmSync(temporary, { force: true });
  const file = openSync(temporary, 'wx', mode);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
}
