import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  ftruncateSync,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  fsyncSync,
} from 'node:fs';
import { dirname } from 'node:path';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';

import type { Journal } from './journal.js';

/** Beyond it the file is written anew with what the database has not got, bytes. */
const COMPACT_BYTES = 8 * 2 ** 20;
/** Nothing more is kept beyond it, for the database has stopped, bytes. */
const MOST_BYTES = 128 * 2 ** 20;
const SYNC_AFTER_MS = 50;

/** Forces what was written to a file to its disk. */
export type Force = (file: number, done: (error: Error | null) => void) => void;

/**
 * The journal in the file `path`, for its owner only: a record a line, each after a line break, so that a torn one spoils
 * no other. A write is with the kernel when `append` returns, and survives the end of the process; it is forced to the disk
 * within `SYNC_AFTER_MS` and the time that the disk takes: what a power cut can cost.
 *
 * Blocks for as long as the kernel takes a write, some microseconds. Throws `data-dir.not-writable`.
 */
export function openJournal(path: string, log: Logger, force: Force = fdatasync): Journal {
  try {
    return new DiskJournal(path, log, force);
  } catch (cause) {
    throw new FleetError('data-dir.not-writable', `${path} cannot be written: ${messageOf(cause)}`, {
      hint: 'choose a directory you may write to with --data',
      cause,
    });
  }
}

class DiskJournal implements Journal {
  readonly left: readonly string[];
  readonly #path: string;
  readonly #log: Logger;
  #file: number;
  #bytes: number;
  #failing = false;
  #closed = false;
  readonly #force: Force;
  /** What was written last is not yet forced to the disk. */
  #unforced = false;
  #timer: NodeJS.Timeout | undefined;
  #forcing = false;

  constructor(path: string, log: Logger, force: Force) {
    this.#path = path;
    this.#force = force;
    this.#log = log;
    this.#file = openSync(path, 'a+', 0o600);
    this.#bytes = fstatSync(this.#file).size;
    forceFolderOf(path);
    this.left = readFileSync(path, 'utf8').split('\n').filter(isWhole);
  }

  append(record: string): void {
    this.#try(() => {
      if (this.#bytes > MOST_BYTES) throw new Error(`${this.#path} has ${this.#bytes} bytes`);
      this.#bytes += this.#write(this.#file, [record]);
    });
    this.#syncSoon();
  }

  keepOnly(unwritten: Iterable<string>): void {
    this.#try(() => {
      const records = [...unwritten];
      if (records.length === 0) {
        if (this.#bytes > 0) ftruncateSync(this.#file, 0);
        this.#bytes = 0;
      } else if (this.#bytes > COMPACT_BYTES) {
        this.#replace(records);
      }
    });
  }

  close(): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    if (this.#unforced) this.#try(() => fdatasyncSync(this.#file));
    this.#closed = true;
    closeSync(this.#file);
  }

  /** What comes while the disk is at work is forced by the next turn. */
  #syncSoon(): void {
    this.#unforced = true;
    if (!this.#forcing) this.#timer ??= setTimeout(() => this.#sync(), SYNC_AFTER_MS);
  }

  /** Off the event loop: a disk may take long. */
  #sync(): void {
    const file = this.#file;
    this.#timer = undefined;
    this.#unforced = false;
    this.#forcing = true;
    this.#force(file, (error) => {
      this.#forcing = false;
      if (this.#closed) return;
      // A journal that was written anew meanwhile was forced then.
      if (error !== null && file === this.#file) this.#failed(error);
      if (this.#unforced) this.#syncSoon();
    });
  }

  /** A process that ends in the middle of it leaves the old file, which has more than is needed. */
  #replace(records: readonly string[]): void {
    const path = `${this.#path}.new`;
    const file = openSync(path, 'w', 0o600);
    try {
      this.#bytes = this.#write(file, records);
      fdatasyncSync(file);
      renameSync(path, this.#path);
      forceFolderOf(this.#path);
    } catch (error) {
      closeSync(file);
      throw error;
    }
    closeSync(this.#file);
    this.#file = file;
  }

  #write(file: number, records: readonly string[]): number {
    const bytes = Buffer.from(records.map((record) => `\n${record}`).join(''));
    // In one call as a rule; unlike `writeSync` it goes on after a part.
    writeFileSync(file, bytes);
    return bytes.length;
  }

  /** A disk that is full costs the protection against a crash, not the answers. Said once, until it works again. */
  #try(work: () => void): void {
    // The number of a closed file may be another's by now.
    if (this.#closed) return;
    try {
      work();
      this.#failing = false;
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (!this.#failing) this.#log.error('journal.failing', { reason: messageOf(error) });
    this.#failing = true;
  }
}

/** A name is on the disk when its folder is. */
function forceFolderOf(path: string): void {
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function isWhole(line: string): boolean {
  try {
    return line !== '' && typeof JSON.parse(line) === 'object';
  } catch {
    // The last line of a process that was killed while it wrote.
    return false;
  }
}
