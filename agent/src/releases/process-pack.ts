import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

const DEADLINE_MS = 120_000;
/** Where each part of the repository lies in an archive: as there, with our own packages where Node looks for packages. */
const PARTS: readonly (readonly [from: string, to: string])[] = [
  ['controller/bin/fleetgate.mjs', 'controller/bin/fleetgate.mjs'],
  ['agent/package.json', 'agent/package.json'],
  ['agent/dist', 'agent/dist'],
  ...['shared', 'firmware-configs'].flatMap((name) =>
    ['package.json', 'dist'].map((part) => [`${name}/${part}`, `node_modules/@fleetgate/${name}/${part}`] as const),
  ),
  ...['boards', 'configs'].map(
    (part) => [`firmware-configs/${part}`, `node_modules/@fleetgate/firmware-configs/${part}`] as const,
  ),
];
const FOR_PEOPLE = /\.(?:d\.ts|map|tsbuildinfo)$/;
/** The same content gives the same archive. */
const REPRODUCIBLE = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];

/**
 * Packs the agent built in `root` as a release: its own code, without libraries, which a device has by its installation.
 * Throws `setup.missing`.
 */
export async function packAgent(root: string, archive: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-pack-'));
  try {
    for (const [from, to] of PARTS) {
      cpSync(join(root, from), join(folder, to), { recursive: true, filter: (path) => !FOR_PEOPLE.test(path) });
    }
    const options = [...REPRODUCIBLE, '-C', folder, '-cf', archive, '-I', 'gzip -n9', '.'];
    await promisify(execFile)('tar', options, { timeout: DEADLINE_MS, killSignal: 'SIGKILL' });
  } catch (cause) {
    throw new FleetError('setup.missing', `the agent cannot be packed into ${archive}: ${messageOf(cause)}`, {
      hint: 'build it with `npm run setup`; GNU tar and gzip are needed',
      cause,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
