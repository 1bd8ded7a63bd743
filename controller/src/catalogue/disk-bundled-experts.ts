import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

import { type ExpertFolder, readExpertCard } from '@fleetgate/shared/catalogue/disk-expert-card';
import type { Variant } from '@fleetgate/shared/catalogue/expert';
import { FleetError, messageOf } from '@fleetgate/shared/errors';

import { readArtefact } from './disk-artefact-reader.js';
import type { RegisteredExpert } from './expert-registry.js';
import type { ExpertStore } from './expert-store.js';

export interface BundledExperts {
  readonly experts: readonly RegisteredExpert[];
  /** What was left out, and why. */
  readonly faults: readonly { readonly folder: string; readonly error: FleetError }[];
}

/**
 * The experts below `folder`, each file checked against its card's digest. One that is broken is left out and named;
 * the others are served. Throws `config.invalid` when the folder itself cannot be read.
 */
export async function readBundledExperts(folder: string, store: ExpertStore): Promise<BundledExperts> {
  const experts: RegisteredExpert[] = [];
  const faults: { folder: string; error: FleetError }[] = [];
  for (const name of await cardFolders(folder)) {
    const directory = join(folder, name);
    try {
      experts.push(await readBundled(await readExpertCard(directory), store));
    } catch (error) {
      if (!(error instanceof FleetError)) throw error;
      faults.push({ folder: directory, error });
    }
  }
  return { experts, faults };
}

async function readBundled(bundled: ExpertFolder, store: ExpertStore): Promise<RegisteredExpert> {
  const { card, paths } = bundled;
  const variants: Variant[] = [];
  let addedAtMs = 0;
  for (const { id, sha256, sizeBytes, quantisation } of card.variants) {
    const path = paths.get(id) ?? '';
    const read = await readArtefact(path, store);
    if (read.sha256 !== sha256) {
      throw new FleetError('artefact.corrupt', `${path} has the sha256 ${read.sha256}, its card says ${sha256}`, {
        hint: 'fetch the file again (git checkout), or correct the card if the file is meant to be new',
      });
    }
    // A bundled expert is as old as its newest file: the same at every start.
    addedAtMs = Math.max(addedAtMs, Math.round(read.changedMs));
    variants.push({ id, expertId: card.name, sha256, sizeBytes, quantisation, facts: read.facts });
  }
  const { name, title, description, domains, licence, origin, stop, measured } = card;
  const expert = { id: name, title, description, domains, licence, origin, stop, variants, addedAtMs };
  return { expert: { ...expert, bitsPerByte: measured?.bitsPerByte ?? {} }, paths };
}

async function cardFolders(folder: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true, recursive: true });
    return entries
      .filter((entry) => entry.name === 'expert.yaml' && entry.parentPath !== folder)
      .map((entry) => entry.parentPath.slice(folder.length).replace(/^[\\/]+/, ''))
      .sort();
  } catch (cause) {
    throw new FleetError('config.invalid', `expertsDir: ${folder} cannot be read: ${messageOf(cause)}`, {
      hint: 'give the folder of the expert cards with --experts',
      cause,
    });
  }
}
