import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

export interface BoardFile {
  /** File name without `.yaml`. */
  readonly name: string;
  readonly text: string;
}

/** Every `.yaml` file of a folder, in the order of their names. */
export async function readBoardFiles(folder: string): Promise<readonly BoardFile[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.yaml')).sort();
  const read = async (name: string): Promise<BoardFile> => ({
    name: basename(name, '.yaml'),
    text: await readFile(join(folder, name), 'utf8'),
  });
  return Promise.all(names.map(read));
}
