import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';

import { check } from '@fleetgate/shared/check';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { z } from 'zod';

/** A question with its answer, or plain text. */
export type SlabText = { readonly prompt: string; readonly completion: string } | { readonly text: string };

const pairSchema = z.object({ prompt: z.string().min(1), completion: z.string() });
const NAME = /\.(?:jsonl|txt)(?:\.gz)?$/;

/**
 * Texts of a file: `{prompt, completion}` a line in a `.jsonl`, all of it in a `.txt`; either may be gzipped (`.gz`). At
 * most `most` of them. Throws `usage.invalid`, naming file and line.
 */
export async function readTexts(file: string, most = Infinity): Promise<readonly SlabText[]> {
  const raw = await readFile(file).catch((cause: unknown) => unreadable(file, cause));
  const plain = file.endsWith('.gz')
    ? await promisify(gunzip)(raw).catch((cause: unknown) => unreadable(file, cause))
    : raw;
  const content = plain.toString('utf8');
  if (!/\.jsonl(?:\.gz)?$/.test(file)) return content.trim() === '' ? empty(file) : [{ text: content }];
  const texts: SlabText[] = [];
  for (const [i, line] of content.split('\n').entries()) {
    if (line.trim() === '' || texts.length >= most) continue;
    texts.push(readPair(line, `${file}:${i + 1}`));
  }
  return texts.length === 0 ? empty(file) : texts;
}

/**
 * Files of a folder by task: `math.valid.jsonl` holds texts of the task `math`. Of several files of a task, the first by
 * name.
 */
export async function taskFiles(folder: string): Promise<ReadonlyMap<string, string>> {
  const names = (await readdir(folder).catch((cause: unknown) => unreadable(folder, cause))).filter((n) =>
    NAME.test(n),
  );
  if (names.length === 0) {
    throw new FleetError('usage.invalid', `${folder}: no .jsonl or .txt files in it`, {
      hint: 'expected one file a task, named after it, such as math.jsonl',
    });
  }
  const files = new Map<string, string>();
  for (const name of names.toSorted()) {
    const task = basename(name).split('.')[0] ?? name;
    // Where training and validation texts lie side by side, the latter are the smaller ones.
    const isBetter = name.includes('.valid.') || !files.has(task);
    if (isBetter) files.set(task, join(folder, name));
  }
  return files;
}

function readPair(line: string, where: string): SlabText {
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

function empty(file: string): never {
  throw new FleetError('usage.invalid', `${file}: there is no text in it`);
}

function unreadable(path: string, cause: unknown): never {
  throw new FleetError('usage.invalid', `${path} cannot be read: ${messageOf(cause)}`, { cause });
}
