import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';

import { sha256OfFile } from '@fleetgate/shared/catalogue/disk-expert-card';
import { FleetError } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import type { Command } from 'commander';

import { writeAssembly } from '../gguf/disk-assembly.js';
import { joinedTensors, SPLIT_KEYS, splitPaths, type SplitPart } from '../gguf/split.js';

interface MergeOptions {
  readonly out: string;
  readonly json?: boolean;
}

/** Adds `gguf merge`: one file of a model that was downloaded in parts. */
export function registerGgufMerge(gguf: Command): void {
  gguf
    .command('merge')
    .description('write a model that is split over several files (…-00001-of-00003.gguf) as one')
    .argument('<part>', 'any of its parts; the others lie beside it')
    .requiredOption('--out <file>', 'file to write')
    .option('--json', 'print one JSON document')
    .action(merge);
}

async function merge(part: string, options: MergeOptions): Promise<void> {
  const paths = splitPaths(resolve(part));
  const output = resolve(options.out);
  if (paths.includes(output)) throw new FleetError('usage.invalid', `--out ${options.out}: it is one of the parts`);
  const missing = paths.filter((path) => !existsSync(path));
  if (missing.length > 0) {
    throw new FleetError(
      'artefact.unavailable',
      `${missing.length} of ${paths.length} parts are missing: ${missing[0]}`,
      {
        hint: 'download all parts into one folder',
      },
    );
  }
  const parts: SplitPart[] = [];
  for (const path of paths) parts.push({ path, header: await readGguf(path) });
  const [first] = parts;
  if (first === undefined) throw new FleetError('internal.invariant', 'a model without parts');
  const tensors = joinedTensors(parts);
  const abort = new AbortController();
  const interrupt = (): void => abort.abort();
  process.once('SIGINT', interrupt);
  try {
    const changes = new Map(SPLIT_KEYS.map((key) => [key, undefined]));
    await writeAssembly({ base: first, changes, tensors, alignment: first.header.alignment, output }, abort.signal);
  } finally {
    process.off('SIGINT', interrupt);
  }
  const [sha256, bytes] = [await sha256OfFile(output), (await stat(output)).size];
  const result = { file: output, parts: paths.length, tensors: tensors.length, sha256, bytes };
  process.stdout.write(
    options.json === true
      ? `${JSON.stringify(result)}\n`
      : `${output}: ${(bytes / 1e6).toFixed(1)} MB of ${paths.length} parts, ${tensors.length} tensors\n`,
  );
}
