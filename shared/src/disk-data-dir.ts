import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

import { FleetError, messageOf } from './errors.js';

/** Locks that this process holds. One that has our id and is not among them was left by an earlier process of that id. */
const held = new Set<string>();

/** How a folder is spoken of. */
export interface FolderWords {
  readonly what: string;
  /** That names it. */
  readonly option: string;
}

const DATA_DIR: FolderWords = { what: 'data directory', option: '--data' };

/**
 * Makes `path` the caller's own folder: created if missing, checked for writing, locked against any other caller.
 *
 * Returns the function that gives the lock back. Throws `data-dir.not-writable` or `data-dir.in-use`. A lock whose
 * process is gone (kill -9) is taken over.
 */
export function claimDataDir(path: string, { what, option }: FolderWords = DATA_DIR): () => void {
  const notWritable = (cause: unknown): FleetError =>
    new FleetError('data-dir.not-writable', `${what} ${path} cannot be written: ${messageOf(cause)}`, {
      hint: `choose a directory you may write to with ${option}`,
      cause,
    });
  let lock: string;
  try {
    makeFolder(path);
    accessSync(path, constants.W_OK | constants.R_OK);
    lock = join(realpathSync(path), 'lock');
  } catch (cause) {
    throw notWritable(cause);
  }
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const file = openSync(lock, 'wx', 0o600);
      writeSync(file, String(process.pid));
      closeSync(file);
      return hold(lock);
    } catch (cause) {
      if (!isCode(cause, 'EEXIST')) throw notWritable(cause);
      const owner = Number(readLock(lock));
      if (owner === process.pid ? held.has(lock) : isAlive(owner)) {
        throw new FleetError('data-dir.in-use', `${what} ${path} is in use by process ${owner}`, {
          hint: `stop that process, or choose another directory with ${option}`,
        });
      }
      rmSync(lock, { force: true });
    }
  }
  throw new FleetError('data-dir.in-use', `${what} ${path} is being claimed by another process`, {
    retryable: true,
  });
}

/** Returns the function that lets go; called again, it does nothing. */
function hold(lock: string): () => void {
  held.add(lock);
  let isOurs = true;
  return () => {
    if (!isOurs) return;
    isOurs = false;
    held.delete(lock);
    rmSync(lock, { force: true });
  };
}

/** Not `recursive: true`: below a folder that cannot hold any (/proc), Node 20 tries for ever. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error;
  }
}

function readLock(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isCode(error, 'EPERM');
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
