import { ggmlType, type GgmlType } from '@fleetgate/shared/gguf/ggml-type';
import { SeededRandom } from '@fleetgate/shared/random';
import { describe, expect, it } from 'vitest';

import type { SynthFill, SynthTensor } from './synth.js';
import { topicOf, topicText } from './synth-topics.js';
import { noisePool, plainValues } from './synth-values.js';
import { SYNTH_VOCABULARY } from './synth-vocabulary.js';

const WIDTH = 256;
const SLABS = 64;
const SLABS_PER_TOKEN = 4;

function typeOf(id: number): GgmlType {
  const type = ggmlType(id);
  if (type === undefined) throw new Error(`no type ${id}`);
  return type;
}

function filled(kind: Exclude<SynthFill['kind'], 'noise'>, columns: number, seed: number): Float32Array {
  const tensor: SynthTensor = { name: 't', dimensions: [WIDTH, columns], type: typeOf(0), fill: { kind } };
  return plainValues(tensor, new SeededRandom(seed));
}

function dot(a: Float32Array, i: number, b: Float32Array, j: number): number {
  let sum = 0;
  for (let d = 0; d < WIDTH; d++) sum += (a[i * WIDTH + d] ?? 0) * (b[j * WIDTH + d] ?? 0);
  return sum;
}

describe('what a synthetic router chooses by a token alone', () => {
  const embeddings = filled('embedding', SYNTH_VOCABULARY, 1);
  const router = filled('router', SLABS, 2);
  const chosen = (token: number): readonly number[] =>
    Array.from({ length: SLABS }, (_, slab) => ({ slab, score: dot(embeddings, token, router, slab) }))
      .toSorted((a, b) => b.score - a.score)
      .slice(0, SLABS_PER_TOKEN)
      .map(({ slab }) => slab);
  const common = (a: number, b: number): number => {
    const of = new Set(chosen(a));
    return chosen(b).filter((slab) => of.has(slab)).length / SLABS_PER_TOKEN;
  };

  it('is a few slabs much more often than the others', () => {
    const uses = Array.from({ length: SLABS }, () => 0);
    const text = topicText(1, 500);
    for (const token of text) for (const slab of chosen(token)) uses[slab] = (uses[slab] ?? 0) + 1;
    const quarter = uses.toSorted((a, b) => b - a).slice(0, SLABS / 4);
    const share = quarter.reduce((sum, one) => sum + one, 0) / (text.length * SLABS_PER_TOKEN);
    expect(share).toBeGreaterThan(0.5);
    expect(share).toBeLessThan(1);
  });

  it('is more alike for tokens of one topic than for those of two', () => {
    const words = topicText(3, 400).filter((token) => topicOf(token) >= 0);
    const same: number[] = [];
    const other: number[] = [];
    for (const [i, a] of words.entries()) {
      const b = words[(i * 37 + 11) % words.length] ?? a;
      if (a !== b) (topicOf(a) === topicOf(b) ? same : other).push(common(a, b));
    }
    const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length;
    expect(mean(same)).toBeGreaterThan(mean(other) + 0.2);
  });
});

describe('noisePool', () => {
  it('has the standard deviation that is asked for', () => {
    const single = noisePool(typeOf(0), 0.03, 100_003, new SeededRandom(4));
    expect(deviationOf(new Float32Array(Uint8Array.from(single).buffer))).toBeCloseTo(0.03, 3);
    const half = noisePool(typeOf(1), 0.03, 100_003, new SeededRandom(4));
    const values = Array.from({ length: half.length / 2 }, (_, i) => halfValue(half.readUInt16LE(2 * i)));
    expect(deviationOf(values)).toBeCloseTo(0.03, 3);
  });

  it('has it as Q8_0, block by block', () => {
    const pool = noisePool(typeOf(8), 0.02, 340_000, new SeededRandom(4));
    const values: number[] = [];
    for (let block = 0; block + 34 <= pool.length; block += 34) {
      const scale = halfValue(pool.readUInt16LE(block));
      for (let i = 2; i < 34; i++) values.push(scale * pool.readInt8(block + i));
    }
    expect(deviationOf(values)).toBeCloseTo(0.02, 3);
  });
});

function deviationOf(values: ArrayLike<number>): number {
  const all = Array.from(values);
  const mean = all.reduce((sum, one) => sum + one, 0) / all.length;
  return Math.sqrt(all.reduce((sum, one) => sum + (one - mean) ** 2, 0) / all.length);
}

function halfValue(bits: number): number {
  return (bits >> 15 === 0 ? 1 : -1) * 2 ** (((bits >> 10) & 31) - 15) * (1 + (bits & 1023) / 1024);
}
