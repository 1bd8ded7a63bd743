import { type FileHandle, open, rename, rm } from 'node:fs/promises';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { SeededRandom } from '@fleetgate/shared/random';

import { encodeHeader, padding, tensorBytes } from './assembly.js';
import { gaussian, SYNTH_TOPICS, SYNTH_VOCABULARY, type SynthModel, type SynthTensor, topicOf } from './synth.js';

/** Slabs start on pages of their own. */
const ALIGNMENT = 4096;
const POOL_BLOCKS = 2 ** 18;
const CHUNK_BYTES = 832 * 1024;
/** Standard deviation of a byte taken as a signed number, all equally likely. */
const BYTE_DEVIATION = 73.9;
/** The first number of every embedding: what the router's preference for some slabs hangs on. */
const CONSTANT = 16;
/** How unequally the router likes its slabs (exponent of Zipf's law), and how much of an embedding is its topic. */
const PREFERENCE = 0.45;
const TOPIC_SHARE = 0.75;

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

function plainValues({ dimensions, fill }: SynthTensor, random: SeededRandom): Float32Array {
  const values = new Float32Array(dimensions.reduce((product, size) => product * size, 1));
  switch (fill.kind) {
    case 'ones':
      return values.fill(1);
    case 'embedding':
      return embeddings(values, dimensions[0] ?? 1, random);
    case 'router':
      return router(values, dimensions[0] ?? 1, dimensions[1] ?? 1, random);
    case 'zeros':
    case 'noise':
      return values;
  }
}

function embeddings(values: Float32Array, width: number, random: SeededRandom): Float32Array {
  const topics = Array.from({ length: SYNTH_TOPICS }, () =>
    Float32Array.from({ length: width }, () => gaussian(random)),
  );
  for (let token = 0; token < SYNTH_VOCABULARY; token++) {
    const topic = topics[topicOf(token)];
    for (let d = 0; d < width; d++) {
      const own = gaussian(random);
      values[token * width + d] =
        topic === undefined ? own : TOPIC_SHARE * (topic[d] ?? 0) + Math.sqrt(1 - TOPIC_SHARE ** 2) * own;
    }
    values[token * width] = CONSTANT;
  }
  return values;
}

function router(values: Float32Array, width: number, slabs: number, random: SeededRandom): Float32Array {
  const rank = Array.from({ length: slabs }, (_, slab) => slab);
  for (let i = slabs - 1; i > 0; i--) {
    const j = Math.floor(random.uniform() * (i + 1));
    [rank[i], rank[j]] = [rank[j] ?? 0, rank[i] ?? 0];
  }
  for (let slab = 0; slab < slabs; slab++) {
    for (let d = 0; d < width; d++) values[slab * width + d] = gaussian(random) / Math.sqrt(width);
    values[slab * width] = (-PREFERENCE * Math.log(1 + (rank[slab] ?? 0))) / (CONSTANT * 0.85);
  }
  return values;
}

/** Random blocks of a type and scale; tensors are cut from it at random places, which is much faster than drawing anew. */
function poolOf({ type, fill }: SynthTensor, pools: Map<string, Buffer>, random: SeededRandom): Buffer {
  const deviation = fill.kind === 'noise' ? fill.deviation : 0;
  const key = `${type.name} ${deviation}`;
  const known = pools.get(key);
  if (known !== undefined) return known;
  const bytes = Math.max(POOL_BLOCKS * 34, 2 * CHUNK_BYTES);
  const pool = Buffer.alloc(bytes - (bytes % type.blockBytes));
  if (type.name === 'Q8_0') {
    for (let i = 0; i < pool.length; i++) pool[i] = random.uniform() * 256;
    const scale = halfOf(deviation / BYTE_DEVIATION);
    for (let i = 0; i < pool.length; i += type.blockBytes) pool.writeUInt16LE(scale, i);
  } else {
    const write = (value: number, at: number): void => {
      if (type.name === 'F16') pool.writeUInt16LE(halfOf(value), at);
      else pool.writeFloatLE(value, at);
    };
    const width = deviation * Math.sqrt(12);
    for (let i = 0; i < pool.length; i += type.blockBytes) write((random.uniform() - 0.5) * width, i);
  }
  pools.set(key, pool);
  return pool;
}

/** IEEE half precision; for normal numbers of its range. */
function halfOf(value: number): number {
  const single = new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0;
  const exponent = ((single >>> 23) & 255) - 127 + 15;
  if (exponent <= 0) return 0;
  return ((single >>> 16) & 0x8000) | (exponent << 10) | ((single >>> 13) & 0x3ff);
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
