import { execFile } from 'node:child_process';
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** `firmware-configs`. */
export const FOLDER = fileURLToPath(new URL('..', import.meta.url));

export interface Outcome {
  readonly code: number;
  readonly output: string;
}

/** Runs a script with nothing but `env` and a path in its environment. */
export async function run(path: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const options = { env: { PATH: process.env['PATH'], ...env }, timeout: 20_000 };
  try {
    const { stdout, stderr } = await promisify(execFile)(path, [...args], options);
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, output: stdout + stderr };
  }
}

/** Every file below a folder, with its permissions. */
export function filesBelow(root: string): readonly string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => `${(lstatSync(path).mode & 0o777).toString(8)} ${path.slice(root.length)}`)
    .sort();
}
