import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const FILLER = 'filler';
const CHUNK = Buffer.alloc(1024 * 1024);

/** A directory on a disk of its own, in memory, that can be filled. */
export class SmallDisk {
  readonly #dir: string;

  /** Undefined where mounting is not permitted. */
  static at(dir: string, bytes: number): SmallDisk | undefined {
    mkdirSync(dir, { recursive: true });
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=700`, 'tmpfs', dir], { stdio: 'ignore' });
      return new SmallDisk(dir);
    } catch {
      return undefined;
    }
  }

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Leaves no byte. */
  fill(): void {
    const file = openSync(join(this.#dir, FILLER), 'w');
    try {
      for (let size = CHUNK.length; size > 0; size = Math.floor(size / 2)) fillBy(file, size);
    } finally {
      closeSync(file);
    }
  }

  empty(): void {
    rmSync(join(this.#dir, FILLER), { force: true });
  }

  /** Whoever uses it has to have ended. */
  remove(): void {
    execFileSync('umount', ['-l', this.#dir], { stdio: 'ignore' });
  }
}

function fillBy(file: number, size: number): void {
  try {
    while (writeSync(file, CHUNK, 0, size) === size);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  }
}
