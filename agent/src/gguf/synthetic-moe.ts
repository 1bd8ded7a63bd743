/**
 * A mixture-of-experts model of any size with random weights, for measuring how slabs are kept in memory. It says nothing
 * worth reading, but routes like a real one: some slabs are popular, and what a text is about decides which.
 */
import { FleetError } from '@fleetgate/shared/errors';
import { type GgmlType, ggmlType } from '@fleetgate/shared/gguf/ggml-type';
import type { Random } from '@fleetgate/shared/random';

export interface SyntheticShape {
  readonly layers: number;
  readonly slabsPerLayer: number;
  readonly slabsPerToken: number;
  /** Multiples of 32: a block of Q8_0. */
  readonly embedding: number;
  readonly slabWidth: number;
  readonly vocabulary: number;
}

/** What a tensor is filled with. */
export type Filling =
  | { readonly kind: 'ones' }
  | { readonly kind: 'embeddings' }
  | { readonly kind: 'router' }
  /** Random Q8_0 weights of that standard deviation. */
  | { readonly kind: 'random'; readonly deviation: number };

export interface SyntheticTensor {
  readonly name: string;
  readonly dimensions: readonly number[];
  readonly type: GgmlType;
  readonly byteLength: number;
  readonly filling: Filling;
}

const HEADS = 16;
const HEADS_KV = 4;
const HEAD_WIDTH = 64;
const CONTEXT_TOKENS = 4096;
const Q8_BLOCK = 32;
const Q8_BLOCK_BYTES = 34;
/** Dimension 0 is the same in all embeddings: what a router has there makes a slab popular whatever the token. */
const POPULARITY = 16;
const POPULARITY_SKEW = 0.45;
/** Of a token's embedding, how much it shares with its topic. */
const TOPIC_SHARE = 0.75;
const TOPICS = 12;
/** Of four hash values more than there are topics, tokens are of none. */
const TOPICLESS = 4;
/** Control and byte tokens come first in a vocabulary. */
const FIRST_WORD = 300;

/** Tensors of the model in file order. Throws `usage.invalid` for a shape that no model has. */
export function syntheticTensors(shape: SyntheticShape): readonly SyntheticTensor[] {
  const { layers, slabsPerLayer, slabsPerToken, embedding, slabWidth, vocabulary } = shape;
  if (embedding % Q8_BLOCK !== 0 || slabWidth % Q8_BLOCK !== 0) {
    throw invalid(`widths ${embedding} and ${slabWidth}, expected multiples of ${Q8_BLOCK}`);
  }
  if (slabsPerToken > slabsPerLayer || layers < 1) {
    throw invalid(`${slabsPerToken} slabs per token of ${slabsPerLayer} in each of ${layers} layers`);
  }
  const [f32, q8] = [ggmlType(0), ggmlType(8)];
  if (f32 === undefined || q8 === undefined) throw new FleetError('internal.invariant', 'F32 and Q8_0 are known types');
  const float = (name: string, dimensions: readonly number[], filling: Filling): SyntheticTensor => {
    return { name, dimensions, type: f32, byteLength: 4 * product(dimensions), filling };
  };
  const quantised = (name: string, dimensions: readonly number[], deviation: number): SyntheticTensor => {
    const byteLength = (product(dimensions) / Q8_BLOCK) * Q8_BLOCK_BYTES;
    return { name, dimensions, type: q8, byteLength, filling: { kind: 'random', deviation } };
  };
  const ones = { kind: 'ones' } as const;
  const layer = (i: number): SyntheticTensor[] => {
    const at = (name: string): string => `blk.${i}.${name}.weight`;
    return [
      float(at('attn_norm'), [embedding], ones),
      quantised(at('attn_q'), [embedding, HEADS * HEAD_WIDTH], 0.02),
      quantised(at('attn_k'), [embedding, HEADS_KV * HEAD_WIDTH], 0.02),
      quantised(at('attn_v'), [embedding, HEADS_KV * HEAD_WIDTH], 0.03),
      quantised(at('attn_output'), [HEADS * HEAD_WIDTH, embedding], 0.012),
      float(at('attn_q_norm'), [HEAD_WIDTH], ones),
      float(at('attn_k_norm'), [HEAD_WIDTH], ones),
      float(at('ffn_norm'), [embedding], ones),
      float(at('ffn_gate_inp'), [embedding, slabsPerLayer], { kind: 'router' }),
      quantised(at('ffn_gate_exps'), [embedding, slabWidth, slabsPerLayer], 0.03),
      quantised(at('ffn_up_exps'), [embedding, slabWidth, slabsPerLayer], 0.03),
      quantised(at('ffn_down_exps'), [slabWidth, embedding, slabsPerLayer], 0.03),
    ];
  };
  return [
    float('token_embd.weight', [embedding, vocabulary], { kind: 'embeddings' }),
    float('output_norm.weight', [embedding], ones),
    quantised('output.weight', [embedding, vocabulary], 0.02),
    ...Array.from({ length: layers }, (_, i) => layer(i)).flat(),
  ];
}

/** Values in place of those of the model whose vocabulary is borrowed; keys without the architecture's name. */
export function syntheticNumbers(shape: SyntheticShape): Readonly<Record<string, number>> {
  return {
    context_length: CONTEXT_TOKENS,
    embedding_length: shape.embedding,
    block_count: shape.layers,
    feed_forward_length: shape.slabWidth,
    'attention.head_count': HEADS,
    'attention.head_count_kv': HEADS_KV,
    'attention.key_length': HEAD_WIDTH,
    'attention.value_length': HEAD_WIDTH,
    'rope.dimension_count': HEAD_WIDTH,
    expert_count: shape.slabsPerLayer,
    expert_used_count: shape.slabsPerToken,
    expert_feed_forward_length: shape.slabWidth,
  };
}

/** `vocabulary x embedding`: each token near its topic. */
export function embeddings({ vocabulary, embedding }: SyntheticShape, random: Random): Float32Array {
  const topics = Array.from({ length: TOPICS }, () => Float32Array.from({ length: embedding }, () => gauss(random)));
  const values = new Float32Array(vocabulary * embedding);
  const own = Math.sqrt(1 - TOPIC_SHARE ** 2);
  for (let token = 0; token < vocabulary; token++) {
    const topic = topics[topicOf(token) ?? -1];
    for (let d = 0; d < embedding; d++) {
      values[token * embedding + d] =
        topic === undefined ? gauss(random) : TOPIC_SHARE * (topic[d] ?? 0) + own * gauss(random);
    }
    values[token * embedding] = POPULARITY;
  }
  return values;
}

/** `slabs x embedding`: random directions, and popularity by rank as words have it (Zipf). */
export function router({ slabsPerLayer, embedding }: SyntheticShape, random: Random): Float32Array {
  const ranks = shuffled(slabsPerLayer, random);
  const values = new Float32Array(slabsPerLayer * embedding);
  for (let slab = 0; slab < slabsPerLayer; slab++) {
    for (let d = 0; d < embedding; d++) values[slab * embedding + d] = gauss(random) / Math.sqrt(embedding);
    values[slab * embedding] = (-POPULARITY_SKEW * Math.log(1 + (ranks[slab] ?? 0))) / (POPULARITY * 0.85);
  }
  return values;
}

/** Random Q8_0 blocks whose weights have that standard deviation. */
export function randomBlocks(blocks: number, deviation: number, random: Random): Uint8Array {
  /** Of integers spread evenly over a byte. */
  const integerDeviation = 73.9;
  const bytes = new Uint8Array(blocks * Q8_BLOCK_BYTES);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(256 * random.uniform());
  const scale = halfFloat(deviation / integerDeviation);
  for (let block = 0; block < blocks; block++) {
    bytes[block * Q8_BLOCK_BYTES] = scale & 0xff;
    bytes[block * Q8_BLOCK_BYTES + 1] = scale >> 8;
  }
  return bytes;
}

/** Of all texts about a topic, one: words of the topic, words of none, rarely another topic; frequent words first. */
export function topicStream(vocabulary: number, tokens: number, random: Random): readonly number[] {
  const words = Array.from({ length: vocabulary - FIRST_WORD }, (_, i) => FIRST_WORD + i);
  const byTopic = new Map<number | undefined, number[]>();
  for (const word of words) byTopic.set(topicOf(word), [...(byTopic.get(topicOf(word)) ?? []), word]);
  const pick = (from: readonly number[]): number => {
    // Zipf: the logarithm of the rank is even.
    const rank = Math.floor(from.length ** random.uniform() - 1);
    return from[Math.min(from.length - 1, rank)] ?? FIRST_WORD;
  };
  const anyTopic = (): number => Math.floor(TOPICS * random.uniform());
  let topic = anyTopic();
  return Array.from({ length: tokens }, () => {
    if (random.uniform() < 0.02) topic = anyTopic();
    return pick(byTopic.get(random.uniform() < 0.35 ? undefined : topic) ?? words);
  });
}

/** Undefined for words of no topic. */
function topicOf(token: number): number | undefined {
  if (token < FIRST_WORD) return undefined;
  const hashed = ((Math.imul(token, 2_654_435_761) >>> 8) % (TOPICS + TOPICLESS)) - TOPICLESS;
  return hashed < 0 ? undefined : hashed;
}

function gauss(random: Random): number {
  return Math.sqrt(-2 * Math.log(random.uniform() + 1e-12)) * Math.cos(2 * Math.PI * random.uniform());
}

function shuffled(count: number, random: Random): readonly number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor((i + 1) * random.uniform());
    [order[i], order[j]] = [order[j] ?? 0, order[i] ?? 0];
  }
  return order;
}

/** Of a normal half float. */
function halfFloat(value: number): number {
  const bits = new DataView(new ArrayBuffer(4));
  bits.setFloat32(0, value);
  const word = bits.getUint32(0);
  const exponent = ((word >>> 23) & 0xff) - 127 + 15;
  return ((word >>> 16) & 0x8000) | (exponent << 10) | ((word >>> 13) & 0x3ff);
}

function product(values: readonly number[]): number {
  return values.reduce((all, value) => all * value, 1);
}

function invalid(problem: string): FleetError {
  return new FleetError('usage.invalid', `no synthetic model can be made: ${problem}`);
}
