import { execFile } from 'node:child_process';
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

/** A program of some MB unpacks within seconds on the slowest card. */
const DEADLINE_MS = 120_000;
const MAIN_FILE = 'controller/bin/fleetgate.mjs';

/**
 * Unpacks a gzipped tar of a program into `folder/<sha256>`, durable when it resolves: the folder appears whole, or not.
 * What it holds was signed, so that `tar` may be trusted with it. Throws `artefact.corrupt`.
 */
export async function unpackProgram(archive: string, folder: string, sha256: string): Promise<void> {
  const target = join(folder, sha256);
  if (existsSync(target)) return;
  const half = `${target}.new`;
  rmSync(half, { recursive: true, force: true });
  try {
    mkdirSync(half, { recursive: true, mode: 0o700 });
    const options = ['--no-same-owner', '-xzf', archive, '-C', half];
    await promisify(execFile)('tar', options, { timeout: DEADLINE_MS, killSignal: 'SIGKILL' });
    if (!existsSync(join(half, MAIN_FILE))) throw new Error(`there is no ${MAIN_FILE} in it`);
    syncTree(half);
    renameSync(half, target);
    sync(folder);
  } catch (cause) {
    rmSync(half, { recursive: true, force: true });
    throw new FleetError('artefact.corrupt', `the agent's release ${sha256} cannot be unpacked: ${messageOf(cause)}`, {
      hint: 'make it with `fleetgate pack-agent`, and look whether `tar` is there and the disk has room',
      cause,
    });
  }
}

function syncTree(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) syncTree(path);
    else if (entry.isFile()) sync(path);
  }
  sync(folder);
}

function sync(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
