import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import type { Command } from 'commander';

import { sha256OfFile } from '@fleetgate/shared/catalogue/disk-expert-card';

import { packAgent } from '../releases/process-pack.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** Adds `pack-agent`: this installation's agent as the content of a release. */
export function registerPackAgent(program: Command): void {
  program
    .command('pack-agent')
    .description('pack the agent of this installation as the content of a release, to be signed')
    .requiredOption('--out <file>', 'archive to write (.tgz)')
    .option('--json', 'print one JSON document')
    .action(async ({ out, json }: { readonly out: string; readonly json?: boolean }) => {
      await packAgent(ROOT, out);
      const packed = { file: out, sha256: await sha256OfFile(out), sizeBytes: statSync(out).size };
      const text = `${packed.file}: ${packed.sizeBytes} bytes, sha256 ${packed.sha256}`;
      process.stdout.write(`${json === true ? JSON.stringify(packed) : text}\n`);
    });
}
