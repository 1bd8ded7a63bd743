import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';

import type { Logger } from '@fleetgate/shared/logger';
import { messageOf } from '@fleetgate/shared/errors';
import { z } from 'zod';

import type { LabelledPrompt } from './k-shot.js';

/** Prompts of one file that are chosen from, and the longest that is scored: a small context has to hold it. */
const MOST_OF_A_FILE = 120;
const MOST_CHARS = 1200;

const pairSchema = z.object({ prompt: z.string().min(1), completion: z.string().min(1) });

/**
 * Questions with reference answers from the `*.train.jsonl` and `*.train.jsonl.gz` files of a folder, spread evenly over each
 * file. A folder or file that cannot be read gives none, with a warning; so does a line that is no such pair.
 */
export async function readLabelledPrompts(folder: string, log: Logger): Promise<readonly LabelledPrompt[]> {
  try {
    const names = (await readdir(folder)).filter((name) => /\.train\.jsonl(?:\.gz)?$/.test(name)).sort();
    const files = await Promise.all(names.map((name) => readPairs(folder, name)));
    return files.flat();
  } catch (error) {
    log.warn('gate.no-labelled-prompts', { folder, reason: messageOf(error) });
    return [];
  }
}

async function readPairs(folder: string, name: string): Promise<readonly LabelledPrompt[]> {
  const file = createReadStream(join(folder, name));
  const text = name.endsWith('.gz') ? file.pipe(createGunzip()) : file;
  // pipe() does not carry errors on.
  if (text !== file) file.once('error', (error) => text.destroy(error));
  const pairs: LabelledPrompt[] = [];
  let line = 0;
  for await (const row of createInterface({ input: text, crlfDelay: Infinity })) {
    line += 1;
    const pair = pairOf(row);
    if (pair === undefined || pair.prompt.length + pair.completion.length > MOST_CHARS) continue;
    pairs.push({ id: `${name.replace(/\.train\.jsonl(?:\.gz)?$/, '')}-${line}`, ...pair });
  }
  const step = Math.max(1, pairs.length / MOST_OF_A_FILE);
  return pairs.filter((_, at) => Math.floor(at / step) !== Math.floor((at - 1) / step));
}

function pairOf(row: string): z.infer<typeof pairSchema> | undefined {
  try {
    return pairSchema.safeParse(JSON.parse(row)).data;
  } catch {
    return undefined;
  }
}
