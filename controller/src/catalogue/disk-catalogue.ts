import { stat } from 'node:fs/promises';

import type { Expert, Variant } from '@fleetgate/shared/catalogue/expert';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import { readModelFacts } from '@fleetgate/shared/gguf/disk-gguf';
import type { Logger } from '@fleetgate/shared/logger';

import { DiskArtefactShelf } from './disk-artefact-shelf.js';
import { readBundledExperts } from './disk-bundled-experts.js';
import { ExpertAdditions } from './expert-additions.js';
import { ExpertRegistry, type RegisteredExpert } from './expert-registry.js';
import type { ExpertStore } from './expert-store.js';
import { HttpArtefactSource } from './http-artefact-source.js';
import { VariantAdditions } from './variant-additions.js';

export interface CatalogueFiles {
  /** Folder of the bundled experts' cards. */
  readonly expertsDir: string;
  /** Folder of added model files. */
  readonly artefactsDir: string;
}

export interface OpenCatalogue {
  readonly registry: ExpertRegistry;
  readonly additions: ExpertAdditions;
  readonly variantAdditions: VariantAdditions;
}

/**
 * The catalogue as it is at the start: bundled experts, then added ones, then variants made of theirs. What is broken is left out and logged as
 * `expert.excluded`; throws `config.invalid` when the folder of the bundled ones cannot be read.
 */
export async function openCatalogue(
  files: CatalogueFiles,
  store: ExpertStore,
  clock: Clock,
  log: Logger,
): Promise<OpenCatalogue> {
  const registry = new ExpertRegistry();
  const exclude = (what: string, error: FleetError): void =>
    log.error('expert.excluded', { what, code: error.code, reason: error.message });
  const bundled = await readBundledExperts(files.expertsDir, store);
  for (const { folder, error } of bundled.faults) exclude(folder, error);
  const unlessBroken = async (what: string, add: () => Promise<void>): Promise<void> => {
    try {
      await add();
    } catch (error) {
      if (!isFleetError(error)) throw error;
      exclude(what, error);
    }
  };
  for (const found of [...bundled.experts, ...(await store.added())]) {
    await unlessBroken(found.expert.id, async () => {
      for (const variant of found.expert.variants) await checkFile(variant, found.paths.get(variant.id) ?? '');
      registry.add(bundled.experts.includes(found) ? found : await withTokenizers(found, store));
    });
  }
  const shelf = new DiskArtefactShelf(files.artefactsDir);
  await shelf.open(clock.now());
  for (const made of await store.made()) {
    await unlessBroken(made.variant.id, async () => {
      await checkFile(made.variant, made.path);
      const adapters = made.variant.serving?.adapters ?? [];
      for (const { sha256, sizeBytes } of adapters) {
        await checkFile({ id: made.variant.id, sizeBytes }, shelf.pathOf(sha256));
      }
      registry.addVariant(made);
      for (const { sha256 } of adapters) registry.addArtefact(sha256, shelf.pathOf(sha256));
    });
  }
  const source = new HttpArtefactSource({ clock });
  const variantAdditions = new VariantAdditions({ registry, store, shelf, log });
  const onAdded = (expert: Expert): Promise<void> => variantAdditions.offerOffloaded(expert);
  const additions = new ExpertAdditions({ registry, store, source, shelf, clock, log, onAdded });
  return { registry, additions, variantAdditions };
}

/** Added files were checked by digest when they came; here only that they are still there. */
async function checkFile(variant: Pick<Variant, 'id' | 'sizeBytes'>, path: string): Promise<void> {
  let size: number;
  try {
    size = (await stat(path)).size;
  } catch (cause) {
    throw new FleetError('artefact.unavailable', `${path} of ${variant.id} is gone: ${messageOf(cause)}`, { cause });
  }
  if (size !== variant.sizeBytes) {
    throw new FleetError('artefact.corrupt', `${path} has ${size} bytes, expected ${variant.sizeBytes}`);
  }
}

/** Facts kept by an earlier release do not name the tokenizer: it is read from the file, once. */
async function withTokenizers(found: RegisteredExpert, store: ExpertStore): Promise<RegisteredExpert> {
  const { expert, paths } = found;
  let changed = false;
  const variants: Variant[] = [];
  for (const variant of expert.variants) {
    const known = variant.facts.tokenizer !== undefined;
    const { tokenizer } = known ? variant.facts : await readModelFacts(paths.get(variant.id) ?? '');
    changed ||= !known && tokenizer !== undefined;
    variants.push(tokenizer === undefined ? variant : { ...variant, facts: { ...variant.facts, tokenizer } });
  }
  if (!changed) return found;
  const complete = { expert: { ...expert, variants }, paths };
  await store.keep(complete);
  return complete;
}
