import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

import type { ExpertView, VariantView } from '@fleetgate/shared/api/operations';
import {
  type CatalogueVariant,
  type VariantCatalogue,
  variantCatalogueSchema,
} from '@fleetgate/shared/catalogue/variant-catalogue';
import { check } from '@fleetgate/shared/check';
import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import type { Command } from 'commander';

import { ApiClient, type ConnectOptions, withConnection } from './api-client.js';
import { printJson, printLine, printNote, showBytes } from './output.js';

interface ImportOptions extends ConnectOptions {
  readonly json?: boolean;
  readonly elastic?: boolean;
}

/** Adds `experts import`: the builds that `gguf variants` found, to the fleet. */
export function registerImport(experts: Command): void {
  withConnection(
    experts
      .command('import')
      .description('add the builds of a catalogue (fleetgate gguf variants) that were written, with what they lose')
      .argument('<expert>')
      .argument('<catalogue>', 'variants.json, or the folder that it is in')
      .option('--elastic', 'let strained devices use fewer active slabs, as far down as was measured'),
  ).action(importCatalogue);
}

async function importCatalogue(name: string, place: string, options: ImportOptions): Promise<void> {
  const { catalogue, folder } = await readCatalogue(place);
  const client = new ApiClient(options);
  const { variants } = await client.get<ExpertView>(`/api/v1/experts/${encodeURIComponent(name)}`);
  const from = variants.find(({ sha256, serving }) => sha256 === catalogue.source.sha256 && serving === undefined);
  if (from === undefined) {
    throw new FleetError('usage.invalid', `${place} is of ${catalogue.source.file}, which ${name} has no variant of`, {
      hint: `its sha256 is ${catalogue.source.sha256}; \`fleetgate experts show ${name}\` lists those of the expert`,
    });
  }
  const added: VariantView[] = [];
  const skipped: { readonly name: string; readonly reason: string }[] = [];
  for (const variant of catalogue.variants) {
    const outcome = await importVariant(client, name, from, variant, { folder, elastic: options.elastic === true });
    if ('reason' in outcome) skipped.push(outcome);
    else added.push(outcome);
  }
  if (options.json === true) return printJson({ added, skipped });
  for (const { id, made, sizeBytes } of added) printLine(`added ${id}: ${made?.how ?? ''}, ${showBytes(sizeBytes)}`);
  for (const one of skipped) printNote(`left out ${one.name}: ${one.reason}`);
}

async function importVariant(
  client: ApiClient,
  expert: string,
  from: VariantView,
  variant: CatalogueVariant,
  { folder, elastic }: { readonly folder: string; readonly elastic: boolean },
): Promise<VariantView | { readonly name: string; readonly reason: string }> {
  const { name, file, how, loss, slabsPerToken, decodeJPerToken } = variant;
  if (variant.genome.every((gene) => gene === 0)) return { name, reason: 'it is the source itself' };
  if (file === undefined) return { name, reason: 'its file was not written (gguf variants --build)' };
  const least = elastic ? variant.elastic.at(-1)?.slabsPerToken : undefined;
  const serving = {
    ...(slabsPerToken === undefined ? {} : { slabsPerToken }),
    ...(least === undefined ? {} : { leastSlabsPerToken: least }),
  };
  const lossAtSlabs = Object.fromEntries(variant.elastic.map((step) => [String(step.slabsPerToken), step.loss]));
  try {
    return await client.post<VariantView>(`/api/v1/experts/${encodeURIComponent(expert)}/variants`, {
      name,
      how,
      from: from.id,
      source: join(folder, file),
      loss,
      decodeJPerToken,
      ...(Object.keys(serving).length === 0 ? {} : { serving }),
      ...(least === undefined ? {} : { lossAtSlabs }),
    });
  } catch (error) {
    if (isFleetError(error, 'expert.exists')) return { name, reason: 'it is there already' };
    throw error;
  }
}

async function readCatalogue(
  place: string,
): Promise<{ readonly catalogue: VariantCatalogue; readonly folder: string }> {
  const file = resolve(place.endsWith('.json') ? place : join(place, 'variants.json'));
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new FleetError('usage.invalid', `${file} cannot be read as a catalogue: ${messageOf(cause)}`, {
      cause,
      hint: '`fleetgate gguf variants` writes one',
    });
  }
  return { catalogue: check(variantCatalogueSchema, value, 'usage.invalid', file), folder: dirname(file) };
}
