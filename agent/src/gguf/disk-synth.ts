import { type FileHandle, open, rename, rm } from 'node:fs/promises';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { SeededRandom } from '@fleetgate/shared/random';

import { encodeHeader, padding, tensorBytes } from './assembly.js';
import type { SynthModel, SynthTensor } from './synth.js';
import { noisePool, plainValues } from './synth-values.js';

/** Slabs start on pages of their own. */
const ALIGNMENT = 4096;
/** Random weights are cut out of so many bytes. */
const POOL_BYTES = 2 ** 18 * 34;
const CHUNK_BYTES = 832 * 1024;

/** Writes a synthetic model, streaming; it appears whole or not at all. Throws `artefact.disk-full`, `usage.invalid`. */
export async function writeSynth(
  model: SynthModel,
  seed: number,
  output: string,
  signal: AbortSignal,
): Promise<number> {
  const part = `${output}.part`;
  const random = new SeededRandom(seed);
  let file: FileHandle | undefined;
  try {
    file = await open(part, 'w');
    const assembled = model.tensors.map((tensor) => ({
      ...tensor,
      pieces: [{ path: '', offset: 0, byteLength: byteLength(tensor) }],
    }));
    const header = encodeHeader([], model.metadata, assembled, ALIGNMENT);
    await file.write(header, 0, header.length, 0);
    let at = header.length;
    const pools = new Map<string, Buffer>();
    for (const [i, tensor] of model.tensors.entries()) {
      at = await writeTensor(file, at, tensor, pools, random, signal);
      const length = assembled[i] === undefined ? 0 : tensorBytes(assembled[i]);
      at += padding(length, ALIGNMENT);
    }
    await file.truncate(at);
    await file.sync();
    await file.close();
    file = undefined;
    await rename(part, output);
    return at;
  } catch (error) {
    await file?.close();
    await rm(part, { force: true });
    throw failure(error, output, signal);
  }
}

async function writeTensor(
  file: FileHandle,
  start: number,
  tensor: SynthTensor,
  pools: Map<string, Buffer>,
  random: SeededRandom,
  signal: AbortSignal,
): Promise<number> {
  const total = byteLength(tensor);
  if (tensor.fill.kind !== 'noise') {
    const values = Buffer.from(plainValues(tensor, random).buffer);
    await file.write(values, 0, values.length, start);
    return start + total;
  }
  const pool = poolOf(tensor, pools, random);
  const { blockBytes } = tensor.type;
  for (let done = 0; done < total;) {
    signal.throwIfAborted();
    const length = Math.min(total - done, CHUNK_BYTES - (CHUNK_BYTES % blockBytes));
    const from = Math.floor(random.uniform() * ((pool.length - length) / blockBytes)) * blockBytes;
    await file.write(pool, from, length, start + done);
    done += length;
  }
  return start + total;
}

function poolOf({ type, fill }: SynthTensor, pools: Map<string, Buffer>, random: SeededRandom): Buffer {
  const deviation = fill.kind === 'noise' ? fill.deviation : 0;
  const key = `${type.name} ${deviation}`;
  const pool = pools.get(key) ?? noisePool(type, deviation, POOL_BYTES, random);
  pools.set(key, pool);
  return pool;
}

function byteLength({ dimensions, type }: SynthTensor): number {
  return (dimensions.reduce((product, size) => product * size, 1) / type.blockElements) * type.blockBytes;
}

function failure(error: unknown, output: string, signal: AbortSignal): FleetError {
  if (error instanceof FleetError) return error;
  if (signal.aborted) return new FleetError('job.cancelled', `writing ${output} was cancelled`);
  const isFull = error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
  return isFull
    ? new FleetError('artefact.disk-full', `${output}: the disk is full`, { cause: error, hint: 'free some space' })
    : new FleetError('usage.invalid', `${output} cannot be written: ${messageOf(error)}`, { cause: error });
}
