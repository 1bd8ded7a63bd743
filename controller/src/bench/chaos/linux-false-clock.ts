import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const LIBRARIES = '/usr/lib';
const PRELOADED = 'faketime/libfaketimeMT.so.1';

/** Clocks of processes that can be put forward or back while they run, each by its own file (libfaketime). */
export class FalseClocks {
  readonly #library: string;
  readonly #dir: string;

  /** Undefined where libfaketime is not installed. */
  static in(dir: string): FalseClocks | undefined {
    const library = readdirSync(LIBRARIES)
      .map((folder) => join(LIBRARIES, folder, PRELOADED))
      .find((path) => existsSync(path));
    return library === undefined ? undefined : new FalseClocks(library, dir);
  }

  private constructor(library: string, dir: string) {
    this.#library = library;
    this.#dir = dir;
    mkdirSync(dir, { recursive: true });
  }

  /** Environment of a process that is to have the clock `name`. Time that has passed is told rightly; only dates are not. */
  environmentOf(name: string): Readonly<Record<string, string>> {
    this.set(name, 0);
    return {
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: this.#pathOf(name),
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    };
  }

  /** `seconds` ahead of the machine's clock; seen within a second. */
  set(name: string, seconds: number): void {
    writeFileSync(this.#pathOf(name), `${seconds < 0 ? '' : '+'}${seconds}\n`);
  }

  #pathOf(name: string): string {
    return join(this.#dir, `${name}.clock`);
  }
}
