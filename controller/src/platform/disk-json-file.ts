import { readFile, rename, rm, writeFile } from 'node:fs/promises';

/** The JSON document in a file; undefined when there is none or it is no JSON (a torn write of an earlier release). */
export async function readJsonFile(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as unknown;
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (missing || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Writes a document whole or not at all. One writer per file. */
export async function writeJsonFile(path: string, value: unknown): Promise<void> {
  const temporary = `${path}.tmp`;
  try {
    await writeFile(temporary, JSON.stringify(value), { mode: 0o600 });
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Moves a file that cannot be used to `<path>.invalid`, for a person to look at; false when there is none. */
export async function setAsideFile(path: string): Promise<boolean> {
  try {
    await rename(path, `${path}.invalid`);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}
