import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Text of a small file under `root` without surrounding white space and NULs; undefined when it cannot be read. */
export async function readText(...path: readonly string[]): Promise<string | undefined> {
  try {
    return (await readFile(join(...path), 'utf8')).replaceAll('\0', '\n').trim();
  } catch {
    return undefined;
  }
}

/** The number in a sysfs file; undefined when it is not there or holds none. */
export async function readNumber(...path: readonly string[]): Promise<number | undefined> {
  const text = await readText(...path);
  if (text === undefined || text === '') return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

/** Paths of a folder's entries whose name matches, sorted; none when the folder is not there. */
export async function listMatching(folder: string, name: RegExp): Promise<readonly string[]> {
  try {
    const names = await readdir(folder);
    return names
      .filter((entry) => name.test(entry))
      .sort()
      .map((entry) => join(folder, entry));
  } catch {
    return [];
  }
}
