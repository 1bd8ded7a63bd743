import { readJsonFile, writeJsonFile } from '@fleetgate/shared/disk-json';
import { FleetError } from '@fleetgate/shared/errors';

import type { SlabProfile } from '../slabs/profile.js';
import { type SearchLog, type SearchState, searchStateSchema } from './search-state.js';

/**
 * The measurements of a search in a file, replaced whole after each: a search that is killed loses the one it was at.
 *
 * `fresh` starts anew; otherwise what is there is gone on with. Throws `usage.invalid` where it is of another model or of
 * other settings, or where there is one and `fresh` would lose it.
 */
export function openSearchLog(
  path: string,
  { source, settings }: Pick<SearchState, 'source' | 'settings'>,
  mode: 'fresh' | 'resume',
): SearchLog {
  const found = readJsonFile(path, searchStateSchema);
  if (found !== undefined && mode === 'fresh') {
    throw new FleetError('usage.invalid', `${path}: a search was begun here, with ${sizeOf(found)} measurements`, {
      hint: 'go on with it by --resume, or give another --out',
    });
  }
  if (found !== undefined && (found.source !== source || found.settings !== settings)) {
    throw new FleetError(
      'usage.invalid',
      `${path}: the search that was begun here is of another model or other options`,
      {
        hint: 'give the same file, texts and options as then (only --budget-evals and --build may differ), or another --out',
      },
    );
  }
  const measured = { ...found?.measured };
  let profile: SlabProfile | undefined = found?.profile;
  const write = (): void =>
    writeJsonFile(path, { schema: 'fleetgate-variant-search/1', source, settings, measured, profile }, 0o644);
  return {
    get: (key) => measured[key],
    put: (key, bitsPerByte) => {
      measured[key] = { ...bitsPerByte };
      write();
    },
    get profile() {
      return profile;
    },
    putProfile: (made) => {
      profile = made;
      write();
    },
  };
}

function sizeOf({ measured }: SearchState): number {
  return Object.keys(measured).length;
}
