import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { check } from '@fleetgate/shared/check';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { z } from 'zod';

import { spread } from './distribution.js';

const SUFFIX = '.valid.jsonl';
const lineSchema = z.object({ prompt: z.string().min(1), completion: z.string().min(1) });

/** A prompt with its reference answer. */
export interface ValidationPair {
  readonly domain: string;
  readonly prompt: string;
  readonly completion: string;
}

/**
 * Pairs of every `<domain>.valid.jsonl` in `folder`, at most `limit` of each domain, spread over the file so that the
 * same limit always gives the same pairs. Throws `config.invalid` when there are none or a line is wrong.
 */
export async function readValidationPairs(folder: string, limit: number): Promise<readonly ValidationPair[]> {
  let names: string[];
  try {
    names = (await readdir(folder)).filter((name) => name.endsWith(SUFFIX)).sort();
  } catch (cause) {
    throw missing(folder, messageOf(cause), cause);
  }
  if (names.length === 0) throw missing(folder, `no *${SUFFIX} there`);
  const pairs: ValidationPair[] = [];
  for (const name of names) {
    const path = join(folder, name);
    const lines = (await readFile(path, 'utf8')).split('\n').filter((line) => line.trim() !== '');
    const all = lines.map((line, at) =>
      check(lineSchema, jsonOf(line, path, at + 1), 'config.invalid', `${path} line ${at + 1}`),
    );
    pairs.push(...spread(all, limit).map((pair) => ({ domain: name.slice(0, -SUFFIX.length), ...pair })));
  }
  return pairs;
}

/** The first `count` pairs of each domain. */
export function perDomain(pairs: readonly ValidationPair[], count: number): readonly ValidationPair[] {
  const taken = new Map<string, number>();
  return pairs.filter(({ domain }) => {
    const before = taken.get(domain) ?? 0;
    taken.set(domain, before + 1);
    return before < count;
  });
}

function jsonOf(line: string, path: string, number: number): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new FleetError('config.invalid', `${path} line ${number}: expected one JSON object`, { cause });
  }
}

function missing(folder: string, what: string, cause?: unknown): FleetError {
  return new FleetError('config.invalid', `validation prompts in ${folder}: ${what}`, {
    hint: 'give the folder that holds <domain>.valid.jsonl files with --prompts',
    cause,
  });
}
