import { stat } from 'node:fs/promises';
import { basename } from 'node:path';

import { FleetError } from '@fleetgate/shared/errors';

import type { TaskTexts } from '../variants/engine-scorer.js';
import { readTexts, taskFiles } from './slab-texts.js';

/**
 * Questions with answers to measure on: of a folder, one `.jsonl` file a task, named after it; or of one file. Throws
 * `usage.invalid`, naming file and line.
 */
export async function readTaskTexts(path: string): Promise<readonly TaskTexts[]> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const files = isFolder ? await taskFiles(path) : new Map([[basename(path).split('.')[0] ?? path, path]]);
  const tasks: TaskTexts[] = [];
  for (const [task, file] of files) tasks.push({ task, pairs: await readPairs(file) });
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
  const texts = await readTexts(file);
  const pairs = texts.flatMap((text) => ('prompt' in text ? [text] : []));
  if (pairs.length === texts.length) return pairs;
  throw new FleetError('usage.invalid', `${file} is plain text, expected questions with their answers`, {
    hint: 'a .jsonl file with {"prompt": ..., "completion": ...} on every line: answers are what is scored',
  });
}
