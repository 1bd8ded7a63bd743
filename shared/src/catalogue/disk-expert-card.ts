import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { parseDocument } from 'yaml';

import { check } from '../check.js';
import { FleetError, messageOf } from '../errors.js';
import type { VariantId } from '../ids.js';
import { type ExpertCard, expertCardSchema } from './expert.js';

/** An expert's card and where its files lie. The files exist and have the card's sizes; their digests are not checked. */
export interface ExpertFolder {
  readonly card: ExpertCard;
  readonly directory: string;
  /** Model file of each variant. */
  readonly paths: ReadonlyMap<VariantId, string>;
}

const CARD = 'expert.yaml';
/** A card is a page of text; a longer one is a mistake, and YAML is slow. */
const MAX_CARD_BYTES = 256 * 1024;

/** Reads `<directory>/expert.yaml`. Throws `expert.invalid-card` with the file and every fault. */
export async function readExpertCard(directory: string): Promise<ExpertFolder> {
  const file = join(directory, CARD);
  const card = check(expertCardSchema, await readYaml(file), 'expert.invalid-card', file, {
    hint: 'see experts/README.md; a bundled card is a pattern',
  });
  const paths = new Map<VariantId, string>();
  for (const variant of card.variants) {
    if (paths.has(variant.id)) throw invalid(file, `variant ${variant.id} occurs twice`);
    const path = join(directory, variant.file);
    const size = await sizeOf(path);
    if (size !== variant.sizeBytes) {
      const got = size === undefined ? 'there is no such file' : `it has ${size} bytes`;
      throw invalid(file, `variants: ${variant.file} is to have ${variant.sizeBytes} bytes, but ${got}`);
    }
    paths.set(variant.id, path);
  }
  return { card, directory, paths };
}

/**
 * All experts below a folder, by name: every subfolder (or link to a folder) with a card. Throws `expert.invalid-card` for the first bad one,
 * for a name or variant that occurs twice, and when the folder cannot be read.
 */
export async function listExpertCards(expertsDirectory: string): Promise<readonly ExpertFolder[]> {
  const folders: ExpertFolder[] = [];
  const owners = new Map<string, string>();
  for (const name of await namesIn(expertsDirectory)) {
    const directory = join(expertsDirectory, name);
    if ((await sizeOf(join(directory, CARD))) === undefined) continue;
    const folder = await readExpertCard(directory);
    for (const id of [`expert ${folder.card.name}`, ...[...folder.paths.keys()].map((id) => `variant ${id}`)]) {
      const owner = owners.get(id);
      if (owner !== undefined) throw invalid(join(directory, CARD), `${id} is also in ${join(owner, CARD)}`);
      owners.set(id, directory);
    }
    folders.push(folder);
  }
  return folders.toSorted((a, b) => (a.card.name < b.card.name ? -1 : 1));
}

/** sha256 of a file in lower-case hexadecimal, streamed. Throws `artefact.unavailable` when it cannot be read. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash);
  } catch (cause) {
    throw new FleetError('artefact.unavailable', `cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
  return hash.digest('hex');
}

async function readYaml(file: string): Promise<unknown> {
  const size = await sizeOf(file);
  if (size === undefined) throw invalid(file, 'there is no such file');
  if (size > MAX_CARD_BYTES) throw invalid(file, `it has ${size} bytes, expected at most ${MAX_CARD_BYTES}`);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw invalid(file, messageOf(cause));
  }
  const document = parseDocument(text, { strict: true, uniqueKeys: true });
  const [fault] = document.errors;
  if (fault !== undefined) throw invalid(file, fault.message.split('\n')[0] ?? fault.code);
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw invalid(file, messageOf(cause));
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (cause) {
    throw invalid(directory, messageOf(cause));
  }
}

/** Size of a regular file, or undefined when there is none. */
async function sizeOf(path: string): Promise<number | undefined> {
  try {
    const found = await stat(path);
    return found.isFile() ? found.size : undefined;
  } catch {
    return undefined;
  }
}

function invalid(file: string, fault: string): FleetError {
  return new FleetError('expert.invalid-card', `${file}: ${fault}`);
}
