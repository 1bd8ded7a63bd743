import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { check } from '@fleetgate/shared/check';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { z } from 'zod';

import type { TaskTexts } from '../variants/engine-scorer.js';

const pairSchema = z.object({ prompt: z.string().min(1), completion: z.string().min(1) });
const TEXTS = '.jsonl';

/**
 * Texts to measure on: of a folder, one `.jsonl` file a task, named after it up to the first dot; or of one file.
 * `{prompt, completion}` a line. Throws `usage.invalid`, naming file and line.
 */
export async function readTaskTexts(path: string): Promise<readonly TaskTexts[]> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    (cause: unknown) => unreadable(path, cause),
  );
  const names = isFolder ? (await readdir(path)).filter((name) => name.endsWith(TEXTS)).toSorted() : [path];
  if (names.length === 0) throw new FleetError('usage.invalid', `${path}: no *${TEXTS} files in it`);
  const tasks: TaskTexts[] = [];
  for (const name of names) {
    const file = isFolder ? join(path, name) : name;
    const task = basename(name).split('.')[0] ?? name;
    if (tasks.some((one) => one.task === task)) {
      throw new FleetError('usage.invalid', `${file}: there is another file of task "${task}"`);
    }
    tasks.push({ task, pairs: await readPairs(file) });
  }
  return tasks;
}

/** At most `count` texts of each task, evenly spread over its file, from the `part`th of `parts` interleaved shares. */
export function someTexts(tasks: readonly TaskTexts[], count: number, part = 0, parts = 1): readonly TaskTexts[] {
  return tasks.map(({ task, pairs }) => {
    const share = pairs.filter((_, i) => i % parts === part);
    const step = Math.max(1, share.length / count);
    const taken = Array.from({ length: Math.min(count, share.length) }, (_, i) => share[Math.floor(i * step)]);
    return { task, pairs: taken.flatMap((pair) => pair ?? []) };
  });
}

async function readPairs(file: string): Promise<TaskTexts['pairs']> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => unreadable(file, cause));
  const pairs = text.split('\n').flatMap((line, i) => (line.trim() === '' ? [] : [readPair(line, `${file}:${i + 1}`)]));
  if (pairs.length === 0) throw new FleetError('usage.invalid', `${file}: no texts in it`);
  return pairs;
}

function readPair(line: string, where: string): TaskTexts['pairs'][number] {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new FleetError('usage.invalid', `${where}: not JSON: ${messageOf(cause)}`, {
      cause,
      hint: 'expected {"prompt": ..., "completion": ...} on every line',
    });
  }
  return check(pairSchema, value, 'usage.invalid', where);
}

function unreadable(path: string, cause: unknown): never {
  throw new FleetError('usage.invalid', `${path} cannot be read: ${messageOf(cause)}`, { cause });
}
