import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A place for one model file, to be removed after use. */
export async function mpsFolder(): Promise<{ readonly file: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'fleetgate-mps-'));
  return { file: join(folder, 'model.mps'), remove: () => rm(folder, { recursive: true, force: true }) };
}
