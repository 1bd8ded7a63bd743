import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';

import { sha256OfFile } from '@fleetgate/shared/catalogue/disk-expert-card';
import { FleetError } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import type { Command } from 'commander';

import { takenTensor } from '../gguf/assembly.js';
import { writeAssembly } from '../gguf/disk-assembly.js';
import { slabLayout } from '../gguf/slab-layout.js';
import { PROFILE_KEY } from '../slabs/embedded-profile.js';
import { checkProfile } from '../slabs/profile.js';
import { profiledModel, readProfile } from './slab-profile.js';

interface EmbedOptions {
  readonly profile: string;
  readonly out: string;
  readonly json?: boolean;
}

/** Slabs start on pages of their own, as `gguf prune` writes them. */
const ALIGNMENT = 4096;

/** Adds `gguf embed`: a model that brings its profile along, wherever it is copied to. */
export function registerGgufEmbed(gguf: Command): void {
  gguf
    .command('embed')
    .description('write a copy of a mixture that brings its profile along: devices then know the patterns of its tasks')
    .argument('<file>')
    .requiredOption('--profile <file>', 'profile of this model (gguf profile)')
    .requiredOption('--out <file>', 'file to write')
    .option('--json', 'print one JSON document')
    .action(embed);
}

async function embed(file: string, options: EmbedOptions): Promise<void> {
  const path = resolve(file);
  const output = resolve(options.out);
  if (output === path) throw new FleetError('usage.invalid', `--out ${options.out}: expected another file`);
  const header = await readGguf(path);
  const layout = slabLayout(header, path);
  if (layout === undefined) throw new FleetError('usage.invalid', `${file} is a dense model, expected a mixture`);
  const profile = await readProfile(options.profile);
  checkProfile(profile, await profiledModel({ path, header, layout }), options.profile, 'usage.invalid');
  const text = JSON.stringify(profile);
  const abort = new AbortController();
  const interrupt = (): void => abort.abort();
  process.once('SIGINT', interrupt);
  try {
    const tensors = header.tensors.map((tensor) => takenTensor(tensor, path, () => undefined));
    const changes = new Map([[PROFILE_KEY, text]]);
    await writeAssembly({ base: { path, header }, changes, tensors, alignment: ALIGNMENT, output }, abort.signal);
  } finally {
    process.off('SIGINT', interrupt);
  }
  const result = {
    file: output,
    sha256: await sha256OfFile(output),
    bytes: (await stat(output)).size,
    profileBytes: Buffer.byteLength(text),
    tasks: Object.keys(profile.tasks),
  };
  process.stdout.write(
    options.json === true
      ? `${JSON.stringify(result)}\n`
      : `${output}: ${(result.bytes / 1e6).toFixed(2)} MB, ${(result.profileBytes / 1e3).toFixed(1)} kB of them patterns ` +
          `of ${result.tasks.join(', ')}\n`,
  );
}
