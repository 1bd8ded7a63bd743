import { FleetError } from '../errors.js';
import { readGguf } from './disk-gguf.js';
import type { GgufHeader } from './header.js';

import { weightBytes } from './facts.js';
import { loraFault } from './lora.js';

/** Bytes of the weights of LoRA adapters of a base model. Throws `gguf.unsupported` for a file that is none of it. */
export async function adapterBytes(paths: readonly string[], base: GgufHeader, basePath: string): Promise<number> {
  let all = 0;
  for (const path of paths) {
    const header = await readGguf(path);
    const fault = loraFault(header, base);
    if (fault !== undefined) {
      throw new FleetError('gguf.unsupported', `${path} cannot be laid over ${basePath}: ${fault}`, {
        hint: 'an adapter fits the model that it was trained on, in any quantisation',
      });
    }
    all += weightBytes(header);
  }
  return all;
}
