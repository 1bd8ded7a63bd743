import type { GgmlType } from '@fleetgate/shared/gguf/ggml-type';
import type { Random } from '@fleetgate/shared/random';

import type { SynthTensor } from './synth.js';
import { SYNTH_TOPICS, topicOf } from './synth-topics.js';
import { SYNTH_VOCABULARY } from './synth-vocabulary.js';

/** Standard deviation of a byte taken as a signed number, all equally likely. */
const BYTE_DEVIATION = 73.9;
/** The first number of every embedding: what the router's preference for some slabs hangs on. */
const CONSTANT = 16;
/** How unequally the router likes its slabs (exponent of Zipf's law), and how much of an embedding is its topic. */
const PREFERENCE = 0.45;
const TOPIC_SHARE = 0.75;

/** Numbers of a tensor that is no noise. */
export function plainValues({ dimensions, fill }: SynthTensor, random: Random): Float32Array {
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

function embeddings(values: Float32Array, width: number, random: Random): Float32Array {
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

function router(values: Float32Array, width: number, slabs: number, random: Random): Float32Array {
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

/**
 * Random blocks of a type and standard deviation, `bytes` of them or a little less: tensors are cut from it at random
 * places, which is much faster than drawing anew.
 */
export function noisePool(type: GgmlType, deviation: number, bytes: number, random: Random): Buffer {
  const pool = Buffer.alloc(bytes - (bytes % type.blockBytes));
  const scratch = new DataView(new ArrayBuffer(4));
  if (type.name === 'Q8_0') {
    for (let i = 0; i < pool.length; i++) pool[i] = random.uniform() * 256;
    const scale = halfOf(deviation / BYTE_DEVIATION, scratch);
    for (let i = 0; i < pool.length; i += type.blockBytes) pool.writeUInt16LE(scale, i);
    return pool;
  }
  const write = (value: number, at: number): void => {
    if (type.name === 'F16') pool.writeUInt16LE(halfOf(value, scratch), at);
    else pool.writeFloatLE(value, at);
  };
  const width = deviation * Math.sqrt(12);
  for (let i = 0; i < pool.length; i += type.blockBytes) write((random.uniform() - 0.5) * width, i);
  return pool;
}

/** A standard normal number. */
function gaussian(random: Random): number {
  return Math.sqrt(-2 * Math.log(random.uniform() + 1e-12)) * Math.cos(2 * Math.PI * random.uniform());
}

/** IEEE half precision; for normal numbers of its range. */
function halfOf(value: number, scratch: DataView): number {
  scratch.setFloat32(0, value);
  const single = scratch.getUint32(0);
  const exponent = ((single >>> 23) & 255) - 127 + 15;
  if (exponent <= 0) return 0;
  return ((single >>> 16) & 0x8000) | (exponent << 10) | ((single >>> 13) & 0x3ff);
}
