import { stat } from 'node:fs/promises';

import { sha256OfFile } from '@fleetgate/shared/catalogue/disk-expert-card';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { adapterBytes } from '@fleetgate/shared/gguf/disk-lora';
import { estimateMemory, modelFacts } from '@fleetgate/shared/gguf/facts';

import { ArtefactFolder } from './disk-artefact-folder.js';
import type { ArtefactShelf, InspectedFile } from './expert-additions.js';

/**
 * Context that an added model is served with at most. Real models were trained for 32,768 tokens and more; a KV cache of
 * that length would fill a small device by itself.
 */
const MOST_CONTEXT_TOKENS = 8192;

/** Added model files on this machine's disk. */
export class DiskArtefactShelf extends ArtefactFolder implements ArtefactShelf {
  async inspect(path: string): Promise<InspectedFile> {
    const header = await readGguf(path);
    const trained = modelFacts(header, path);
    const contextTokens = Math.min(trained.contextTokens, MOST_CONTEXT_TOKENS);
    const memoryBytes = estimateMemory(header, contextTokens, 1, path);
    const licence = header.metadata.get('general.license')?.value;
    return {
      sha256: await sha256OfFile(path),
      sizeBytes: (await stat(path)).size,
      facts: { ...trained, contextTokens, memoryBytes },
      licence: typeof licence === 'string' ? licence : undefined,
    };
  }

  async inspectAdapter(path: string, basePath: string): Promise<Pick<InspectedFile, 'sha256' | 'sizeBytes'>> {
    await adapterBytes([path], await readGguf(basePath), basePath);
    return { sha256: await sha256OfFile(path), sizeBytes: (await stat(path)).size };
  }
}
