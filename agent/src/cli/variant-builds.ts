import { join } from 'node:path';

import type { BoardProfile } from '@fleetgate/shared/catalogue/board';
import type { CatalogueVariant, ElasticStep } from '@fleetgate/shared/catalogue/variant-catalogue';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';

import { digestOf } from '../artefacts/disk-digest.js';
import { type BitsByTask, lossOf, type TaskTexts } from '../variants/engine-scorer.js';
import { costOf, specOf, type VariantSpace } from '../variants/variant-space.js';
import { someTexts } from './variant-texts.js';
import { scopeOf, type VariantRun } from './variant-run.js';
import { tell, type Workbench } from './variant-workbench.js';

interface Parts {
  readonly bench: Workbench;
  readonly space: VariantSpace;
  readonly run: VariantRun;
  readonly folder: string;
  readonly stem: string;
  readonly board: BoardProfile;
  /** Bits per byte of the source on the same texts. */
  readonly source: BitsByTask;
  readonly heldOut: readonly TaskTexts[];
}

/**
 * Writes the files of the entries named in `wanted`. Builds that differ in active slabs alone are one file: the fleet
 * serves it with either number.
 */
export async function buildEntries(
  parts: Parts,
  entries: readonly CatalogueVariant[],
  wanted: ReadonlySet<string>,
): Promise<readonly CatalogueVariant[]> {
  const { bench, run, folder, stem } = parts;
  const files = new Map<string, { readonly sha256: string; readonly sizeBytes: number }>();
  const built: CatalogueVariant[] = [];
  for (const entry of entries) {
    if (!wanted.has(entry.name)) {
      built.push(entry);
      continue;
    }
    const [keep = 0, , ...types] = entry.genome;
    const file = [stem, ...(keep === 0 ? [] : [entry.scope, `keep${entry.keep ?? ''}`]), types.join('')].join('-');
    const name = `${file}.gguf`;
    const path = join(folder, name);
    const known = files.get(name);
    if (known === undefined) {
      const genome = entry.genome.map((choice, i) => (i === 1 ? 0 : choice));
      await bench.builder.build(run.order(scopeOf(entry.scope), genome, path), bench.signal);
      tell(`built ${name}`);
    }
    const facts = known ?? {
      sha256: await digestOf(path, bench.signal),
      sizeBytes: (await readGguf(path)).fileBytes,
    };
    files.set(name, facts);
    const served = { path, slabsPerToken: entry.slabsPerToken };
    const decodeTokensPerS = await bench.scorer.decodeRate(served, someTexts(parts.heldOut, 2), bench.signal);
    const elastic = await elasticSteps(parts, entry);
    built.push({
      ...{ ...entry, ...facts, elastic: [...elastic], file: name },
      ...(decodeTokensPerS === undefined ? {} : { decodeTokensPerS }),
    });
  }
  return built;
}

/** The same file with each smaller number of active slabs. */
async function elasticSteps(
  { run, space, board, source, heldOut }: Parts,
  { scope, genome }: CatalogueVariant,
): Promise<readonly ElasticStep[]> {
  const steps: ElasticStep[] = [];
  for (let active = (genome[1] ?? 0) + 1; active < space.slabsPerToken.length; active++) {
    const fewer = genome.map((choice, i) => (i === 1 ? active : choice));
    const bitsPerByte = await run.heldOut(scopeOf(scope), fewer, heldOut);
    const { activeBytes, decodeJPerToken } = costOf(space, specOf(space, fewer), board);
    steps.push({
      slabsPerToken: space.slabsPerToken[active] ?? 1,
      bitsPerByte: { ...bitsPerByte },
      loss: { ...lossOf(bitsPerByte, source) },
      activeBytes,
      decodeJPerToken,
    });
  }
  return steps;
}
