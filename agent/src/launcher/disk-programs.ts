import { mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

import { readJsonFile, writeJsonFile } from '@fleetgate/shared/disk-json';
import { FleetError, messageOf } from '@fleetgate/shared/errors';

import { FIRST_STATE, type LaunchState, launchStateSchema, type Program } from './launch-state.js';

/** Where an agent's launcher keeps its programs. */
export const programFolder = (dataDir: string): string => join(dataDir, 'program');

/** Programs and the launcher's state in one folder: `launch.json`, and a folder for each program named by its digest. */
export class DiskPrograms {
  readonly #folder: string;
  readonly #root: string;

  /** `root`: of the installation, whose libraries programs share. Throws `data-dir.not-writable`. */
  constructor(folder: string, root: string) {
    this.#folder = folder;
    this.#root = root;
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      this.#linkLibraries();
    } catch (cause) {
      throw new FleetError('data-dir.not-writable', `${folder}: ${messageOf(cause)}`, { cause });
    }
  }

  /** A state that cannot be read is as good as none: the installed program runs, and is offered what is newer. */
  read(): LaunchState {
    try {
      return readJsonFile<LaunchState>(join(this.#folder, 'launch.json'), launchStateSchema) ?? FIRST_STATE;
    } catch {
      return FIRST_STATE;
    }
  }

  /** Kept durably when it returns. */
  keep(state: LaunchState): void {
    writeJsonFile(join(this.#folder, 'launch.json'), state);
  }

  /** Removes programs that are not in `state`, and what was unpacked half. Only while none runs that may unpack another. */
  clean(state: LaunchState): void {
    const kept = new Set(state.stack.map(({ sha256 }) => sha256));
    for (const name of readdirSync(this.#folder)) {
      if (/^[0-9a-f]{64}/.test(name) && !kept.has(name)) rmSync(join(this.#folder, name), { recursive: true });
    }
  }

  /** Main file of a program; undefined: of the installed one. */
  entry(program: Program | undefined): string {
    return join(
      program === undefined ? this.#root : join(this.#folder, program.sha256),
      'controller/bin/fleetgate.mjs',
    );
  }

  /** Node looks for libraries in the folders above a program: what a release does not bring it finds here. */
  #linkLibraries(): void {
    const link = join(this.#folder, 'node_modules');
    const target = join(this.#root, 'node_modules');
    if (targetOf(link) === target) return;
    rmSync(link, { recursive: true, force: true });
    symlinkSync(target, link);
  }
}

function targetOf(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch {
    return undefined;
  }
}
