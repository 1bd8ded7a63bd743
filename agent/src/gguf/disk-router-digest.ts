import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

import { FleetError } from '@fleetgate/shared/errors';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';

const ROUTER = /^blk\.\d+\.(?:ffn_gate_inp\.(?:weight|bias)|exp_probs_b(?:\.bias)?)$/;
const CHUNK_BYTES = 4 * 2 ** 20;

/**
 * Digest of all tensors that decide which slabs are chosen: equal for builds of a model that differ in other tensors only
 * (llama.cpp does not quantise routers). Throws `gguf.malformed` when the file shrinks meanwhile.
 */
export async function routerDigest(path: string, { tensors }: GgufHeader): Promise<string> {
  const hash = createHash('sha256');
  const file = await open(path, 'r');
  try {
    for (const { name, dimensions, fileOffset, byteLength } of tensors.filter((tensor) => ROUTER.test(tensor.name))) {
      hash.update(`${name} ${dimensions.join(' ')}\0`);
      for (let done = 0; done < byteLength;) {
        const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, byteLength - done));
        const { bytesRead } = await file.read(chunk, 0, chunk.length, fileOffset + done);
        if (bytesRead === 0) throw new FleetError('gguf.malformed', `${path}: the file shrank while it was read`);
        hash.update(chunk.subarray(0, bytesRead));
        done += bytesRead;
      }
    }
  } finally {
    await file.close();
  }
  return hash.digest('hex');
}
