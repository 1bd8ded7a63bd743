import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

/**
 * The secret kept in the file `path`; made by `make` and written, for its owner only, when there is none.
 *
 * Throws `data-dir.not-writable` when it can be neither read nor written.
 */
export function keptSecret(path: string, make: () => string): string {
  try {
    const kept = read(path);
    if (kept !== undefined) return kept;
    const made = make();
    const file = openSync(path, 'w', 0o600);
    try {
      writeSync(file, `${made}\n`);
    } finally {
      closeSync(file);
    }
    return made;
  } catch (cause) {
    throw new FleetError('data-dir.not-writable', `${path} can be neither read nor written: ${messageOf(cause)}`, {
      hint: 'choose a directory you may write to with --data',
      cause,
    });
  }
}

/** An empty file, left by a crash between making and filling it, counts as none. */
function read(path: string): string | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim();
    return text === '' ? undefined : text;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
