import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

export interface InstanceFile {
  readonly name: string;
  readonly file: string;
}

/** Files of a folder, and of `large` in it, that look like instances of `fleet-opt/1`; by name, the large ones last. */
export async function solveInstances(folder: string): Promise<readonly InstanceFile[]> {
  const own = await instanceFiles(folder);
  const large = await instanceFiles(join(folder, 'large')).catch(() => []);
  if (own.length + large.length === 0) {
    throw new FleetError('usage.invalid', `--instances: ${folder} holds no instances (.json or .json.gz)`);
  }
  return [...own, ...large].map((file) => ({ name: basename(file).replace(/\.json(?:\.gz)?$/, ''), file }));
}

async function instanceFiles(folder: string): Promise<readonly string[]> {
  try {
    const names = (await readdir(folder)).filter((name) => /\.json(?:\.gz)?$/.test(name) && name !== 'index.json');
    return names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).map((name) => join(folder, name));
  } catch (error) {
    throw new FleetError('usage.invalid', `--instances: ${folder} cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
