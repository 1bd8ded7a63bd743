import { closeSync, ftruncateSync, fstatSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { Logger } from '@fleetgate/shared/logger';

import type { LedgerJournal } from './ledger-journal.js';

/** Beyond it the file is written anew with what the database has not got, bytes. */
const COMPACT_BYTES = 8 * 2 ** 20;
/** Nothing more is kept beyond it, for the database has stopped, bytes. */
const MOST_BYTES = 128 * 2 ** 20;

/**
 * The journal in the file `path`, for its owner only: a record a line, each after a line break, so that a torn one spoils
 * no other. Writes go to the kernel and are not forced to the disk: they survive the end of the process, not of the machine.
 *
 * Blocks for as long as the kernel takes a write, some microseconds. Throws `data-dir.not-writable`.
 */
export function openLedgerJournal(path: string, log: Logger): LedgerJournal {
  try {
    return new DiskLedgerJournal(path, log);
  } catch (cause) {
    throw new FleetError('data-dir.not-writable', `${path} cannot be written: ${messageOf(cause)}`, {
      hint: 'choose a directory you may write to with --data',
      cause,
    });
  }
}

class DiskLedgerJournal implements LedgerJournal {
  readonly left: readonly string[];
  readonly #path: string;
  readonly #log: Logger;
  #file: number;
  #bytes: number;
  #failing = false;
  #closed = false;

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
    this.#file = openSync(path, 'a+', 0o600);
    this.#bytes = fstatSync(this.#file).size;
    this.left = readFileSync(path, 'utf8').split('\n').filter(isWhole);
  }

  append(record: string): void {
    this.#try(() => {
      if (this.#bytes > MOST_BYTES) throw new Error(`${this.#path} has ${this.#bytes} bytes`);
      this.#bytes += this.#write(this.#file, [record]);
    });
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
    if (!this.#closed) closeSync(this.#file);
    this.#closed = true;
  }

  /** A process that ends in the middle of it leaves the old file, which has more than is needed. */
  #replace(records: readonly string[]): void {
    const path = `${this.#path}.new`;
    const file = openSync(path, 'w', 0o600);
    try {
      this.#bytes = this.#write(file, records);
      renameSync(path, this.#path);
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
      if (!this.#failing) this.#log.error('ledger.no-journal', { reason: messageOf(error) });
      this.#failing = true;
    }
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
