import { createHash, type Hash } from 'node:crypto';
import { open } from 'node:fs/promises';

import { FleetError } from '@fleetgate/shared/errors';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';

import { type AssembledTensor, type Piece, takenTensor } from './assembly.js';

const ROUTER = /^blk\.\d+\.(?:ffn_gate_inp\.(?:weight|bias)|exp_probs_b(?:\.bias)?)$/;
const CHUNK_BYTES = 4 * 2 ** 20;

/**
 * Digest of all tensors that decide which slabs are chosen: equal for builds of a model that differ in other tensors only
 * (llama.cpp does not quantise routers). Throws `gguf.malformed` when the file shrinks meanwhile.
 */
export function routerDigest(path: string, { tensors }: GgufHeader): Promise<string> {
  return assembledRouterDigest(tensors.map((tensor) => takenTensor(tensor, path, () => undefined)));
}

/** `routerDigest` of the file that these tensors will be. */
export async function assembledRouterDigest(tensors: readonly AssembledTensor[]): Promise<string> {
  const hash = createHash('sha256');
  for (const { name, dimensions, pieces } of tensors.filter((tensor) => ROUTER.test(tensor.name))) {
    hash.update(`${name} ${dimensions.join(' ')}\0`);
    for (const piece of pieces) await digestPiece(hash, piece);
  }
  return hash.digest('hex');
}

async function digestPiece(hash: Hash, { path, offset, byteLength }: Piece): Promise<void> {
  const file = await open(path, 'r');
  try {
    for (let done = 0; done < byteLength;) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, byteLength - done));
      const { bytesRead } = await file.read(chunk, 0, chunk.length, offset + done);
      if (bytesRead === 0) throw new FleetError('gguf.malformed', `${path}: the file shrank while it was read`);
      hash.update(chunk.subarray(0, bytesRead));
      done += bytesRead;
    }
  } finally {
    await file.close();
  }
}
