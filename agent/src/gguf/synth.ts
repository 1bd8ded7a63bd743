import { FleetError } from '@fleetgate/shared/errors';
import { type GgmlType, ggmlType } from '@fleetgate/shared/gguf/ggml-type';

import type { MetadataValue } from './assembly.js';
import { SYNTH_ARCHITECTURES, type SynthArchitecture } from './synth-architectures.js';
import { SYNTH_VOCABULARY, synthVocabulary } from './synth-vocabulary.js';

export interface SynthOptions {
  readonly architecture: string;
  readonly layers: number;
  /** 0: a dense model (of the `llama` architecture only). */
  readonly slabsPerLayer: number;
  readonly slabsPerToken: number;
  readonly embedding: number;
  readonly slabWidth: number;
  readonly heads: number;
  /** Type of the weights; router, norms and embedding are float32. */
  readonly type: 'q8_0' | 'f16' | 'f32';
  readonly seed: number;
}

/** What a tensor's numbers are. */
export type SynthFill =
  | { readonly kind: 'ones' | 'zeros' | 'embedding' | 'router' }
  /** Uniform with this standard deviation. */
  | { readonly kind: 'noise'; readonly deviation: number };

export interface SynthTensor {
  readonly name: string;
  readonly dimensions: readonly number[];
  readonly type: GgmlType;
  readonly fill: SynthFill;
}

export interface SynthModel {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: readonly SynthTensor[];
}

const CONTEXT_TOKENS = 4096;
const SHARED_EXPERTS = 1;
const LATENT_QUERY = 64;
const LATENT_KEY = 32;
const ROPE_WIDTH = 16;
const FLOAT32 = typeOf(0);

/**
 * A mixture of experts (or a dense model) with random weights that llama.cpp loads: for benchmarks and tests of mechanics; its text means
 * nothing. Tokens have topics, and the router prefers some slabs for all tokens and some for a topic's, so that the choices
 * of a text repeat about as those of trained mixtures do (`topicText` writes such texts). Throws `usage.invalid`.
 */
export function synthModel(options: SynthOptions): SynthModel {
  const arch = architectureOf(options);
  return { metadata: metadataOf(options, arch), tensors: tensorsOf(options, arch) };
}

function architectureOf(options: SynthOptions): SynthArchitecture {
  const { architecture, layers, slabsPerLayer, slabsPerToken, embedding, slabWidth, heads } = options;
  const arch = Object.hasOwn(SYNTH_ARCHITECTURES, architecture) ? SYNTH_ARCHITECTURES[architecture] : undefined;
  const fault = (problem: string): FleetError => new FleetError('usage.invalid', problem);
  if (arch === undefined) {
    throw fault(`--arch ${architecture}: expected one of ${Object.keys(SYNTH_ARCHITECTURES).join(', ')}`);
  }
  if (layers > 1024 || slabsPerLayer > 1024) throw fault('expected at most 1024 layers of 1024 slabs');
  if (slabsPerToken > slabsPerLayer)
    throw fault(`--top-k ${slabsPerToken}: expected at most --experts ${slabsPerLayer}`);
  if (embedding % 32 !== 0 || slabWidth % 32 !== 0) throw fault('--embd and --ff: expected multiples of 32');
  if (embedding % heads !== 0 || (embedding / heads) % 2 !== 0) {
    throw fault(`--heads ${heads}: expected a divisor of --embd ${embedding} that leaves an even width`);
  }
  if ((slabsPerLayer === 0) !== (slabsPerToken === 0))
    throw fault('--experts 0 and --top-k 0: expected both or neither');
  if (slabsPerLayer === 0 && architecture !== 'llama')
    throw fault(`--experts 0: expected --arch llama, got ${architecture}`);
  if (arch.groups === true && slabsPerLayer % 4 !== 0) throw fault('--experts: expected a multiple of its 4 groups');
  return arch;
}

function metadataOf(options: SynthOptions, arch: SynthArchitecture): ReadonlyMap<string, MetadataValue> {
  const { architecture, layers, slabsPerLayer, slabsPerToken, embedding, slabWidth, heads } = options;
  const width = embedding / heads;
  const count = (key: string, value: number): readonly [string, MetadataValue] => [
    `${architecture}.${key}`,
    { uint32: value },
  ];
  const entries: (readonly [string, MetadataValue])[] = [
    ['general.architecture', architecture],
    ['general.name', `synthetic ${architecture} ${layers}x${slabsPerLayer}`],
    count('block_count', layers),
    count('context_length', CONTEXT_TOKENS),
    count('embedding_length', embedding),
    count('feed_forward_length', slabWidth),
    count('attention.head_count', heads),
    count('attention.head_count_kv', kvHeads(options, arch)),
    count('attention.key_length', arch.latentAttention === true ? width + ROPE_WIDTH : width),
    count('attention.value_length', width),
    count('rope.dimension_count', arch.latentAttention === true ? ROPE_WIDTH : width),
    [`${architecture}.rope.freq_base`, { float32: 10_000 }],
    [`${architecture}.attention.layer_norm_rms_epsilon`, { float32: 1e-6 }],
    count('vocab_size', SYNTH_VOCABULARY),
    ...(slabsPerLayer === 0
      ? []
      : [
          count('expert_count', slabsPerLayer),
          count('expert_used_count', slabsPerToken),
          count('expert_feed_forward_length', slabWidth),
        ]),
    ...(arch.sharedKey === 'count' ? [count('expert_shared_count', SHARED_EXPERTS)] : []),
    ...(arch.sharedKey === 'width' ? [count('expert_shared_feed_forward_length', slabWidth)] : []),
    ...(arch.leadingDense === true ? [count('leading_dense_block_count', 1)] : []),
    ...(arch.groups === true ? [count('expert_group_count', 4), count('expert_group_used_count', 2)] : []),
    ...(arch.gating === undefined ? [] : [count('expert_gating_func', arch.gating)]),
    ...(arch.weightsNorm === undefined ? [] : [[`${architecture}.expert_weights_norm`, arch.weightsNorm] as const]),
    ...(arch.latentAttention === true
      ? [count('attention.q_lora_rank', LATENT_QUERY), count('attention.kv_lora_rank', LATENT_KEY)]
      : []),
    ...Object.entries(arch.extra ?? {}).map(([key, value]) => [`${architecture}.${key}`, { float32: value }] as const),
    ...Object.entries(arch.extraCounts ?? {}).map(([key, value]) => count(key, value)),
    ...synthVocabulary(),
  ];
  return new Map(entries);
}

function kvHeads({ heads }: SynthOptions, arch: SynthArchitecture): number {
  return arch.fullHeads === true || arch.latentAttention === true || heads % 4 !== 0 ? heads : heads / 4;
}

function tensorsOf(options: SynthOptions, arch: SynthArchitecture): readonly SynthTensor[] {
  const { embedding, layers } = options;
  const weight = typeOf({ q8_0: 8, f16: 1, f32: 0 }[options.type]);
  const plain = (name: string, kind: 'ones' | 'zeros', ...dimensions: number[]): SynthTensor => ({
    name,
    dimensions,
    type: FLOAT32,
    fill: { kind },
  });
  const noise = (name: string, deviation: number, ...dimensions: number[]): SynthTensor => ({
    name,
    dimensions,
    type: (dimensions[0] ?? 0) % weight.blockElements === 0 ? weight : typeOf(1),
    fill: { kind: 'noise', deviation },
  });
  const normBias = arch.biases === 'norms';
  const tensors: SynthTensor[] = [
    {
      name: 'token_embd.weight',
      dimensions: [embedding, SYNTH_VOCABULARY],
      type: FLOAT32,
      fill: { kind: 'embedding' },
    },
    plain('output_norm.weight', 'ones', embedding),
    ...(normBias
      ? [plain('output_norm.bias', 'zeros', embedding), plain('output.bias', 'zeros', SYNTH_VOCABULARY)]
      : []),
    noise('output.weight', 0.02, embedding, SYNTH_VOCABULARY),
  ];
  for (let layer = 0; layer < layers; layer++) {
    const isDense = options.slabsPerLayer === 0 || (arch.leadingDense === true && layer === 0);
    tensors.push(
      plain(`blk.${layer}.attn_norm.weight`, 'ones', embedding),
      ...(normBias
        ? [
            plain(`blk.${layer}.attn_norm.bias`, 'zeros', embedding),
            plain(`blk.${layer}.ffn_norm.bias`, 'zeros', embedding),
          ]
        : []),
      ...attention(options, arch, `blk.${layer}.`, plain, noise),
      plain(`blk.${layer}.${arch.postNorm === true ? 'post_attention_norm' : 'ffn_norm'}.weight`, 'ones', embedding),
      ...(isDense ? dense(options, `blk.${layer}.`, noise) : mixture(options, arch, `blk.${layer}.`, plain, noise)),
    );
  }
  return tensors;
}

type Plain = (name: string, kind: 'ones' | 'zeros', ...dimensions: number[]) => SynthTensor;
type Noise = (name: string, deviation: number, ...dimensions: number[]) => SynthTensor;

function attention(
  options: SynthOptions,
  arch: SynthArchitecture,
  at: string,
  plain: Plain,
  noise: Noise,
): readonly SynthTensor[] {
  const { embedding, heads } = options;
  const width = embedding / heads;
  const kv = kvHeads(options, arch) * width;
  const output = [
    noise(`${at}attn_output.weight`, 0.012, embedding, embedding),
    ...(arch.biases === undefined ? [] : [plain(`${at}attn_output.bias`, 'zeros', embedding)]),
    ...(arch.attentionSinks === true ? [plain(`${at}attn_sinks.weight`, 'zeros', heads)] : []),
  ];
  if (arch.latentAttention === true) {
    return [
      plain(`${at}attn_q_a_norm.weight`, 'ones', LATENT_QUERY),
      plain(`${at}attn_kv_a_norm.weight`, 'ones', LATENT_KEY),
      noise(`${at}attn_q_a.weight`, 0.02, embedding, LATENT_QUERY),
      noise(`${at}attn_q_b.weight`, 0.02, LATENT_QUERY, heads * (width + ROPE_WIDTH)),
      noise(`${at}attn_kv_a_mqa.weight`, 0.02, embedding, LATENT_KEY + ROPE_WIDTH),
      noise(`${at}attn_kv_b.weight`, 0.02, LATENT_KEY, heads * 2 * width),
      ...output,
    ];
  }
  const norm = arch.attentionNorm === undefined ? undefined : arch.attentionNorm === 'head' ? width : embedding;
  return [
    noise(`${at}attn_q.weight`, 0.02, embedding, embedding),
    noise(`${at}attn_k.weight`, 0.02, embedding, kv),
    noise(`${at}attn_v.weight`, 0.03, embedding, kv),
    ...output,
    ...(norm === undefined ? [] : ['q', 'k'].map((of) => plain(`${at}attn_${of}_norm.weight`, 'ones', norm))),
  ];
}

function dense({ embedding, slabWidth }: SynthOptions, at: string, noise: Noise): readonly SynthTensor[] {
  return [
    noise(`${at}ffn_gate.weight`, 0.03, embedding, slabWidth),
    noise(`${at}ffn_up.weight`, 0.03, embedding, slabWidth),
    noise(`${at}ffn_down.weight`, 0.03, slabWidth, embedding),
  ];
}

function mixture(
  options: SynthOptions,
  arch: SynthArchitecture,
  at: string,
  plain: Plain,
  noise: Noise,
): readonly SynthTensor[] {
  const { embedding, slabWidth, slabsPerLayer } = options;
  return [
    {
      name: `${at}ffn_gate_inp.weight`,
      dimensions: [embedding, slabsPerLayer],
      type: FLOAT32,
      fill: { kind: 'router' },
    },
    ...(arch.choiceBias === true ? [{ ...noise(`${at}exp_probs_b.bias`, 0.05, slabsPerLayer), type: FLOAT32 }] : []),
    noise(`${at}ffn_gate_exps.weight`, 0.03, embedding, slabWidth, slabsPerLayer),
    noise(`${at}ffn_up_exps.weight`, 0.03, embedding, slabWidth, slabsPerLayer),
    noise(`${at}ffn_down_exps.weight`, 0.03, slabWidth, embedding, slabsPerLayer),
    ...(arch.slabBiases === true
      ? [
          { ...noise(`${at}ffn_gate_inp.bias`, 0.1, slabsPerLayer), type: FLOAT32 },
          { ...noise(`${at}ffn_gate_exps.bias`, 0.02, slabWidth, slabsPerLayer), type: FLOAT32 },
          { ...noise(`${at}ffn_up_exps.bias`, 0.02, slabWidth, slabsPerLayer), type: FLOAT32 },
          { ...noise(`${at}ffn_down_exps.bias`, 0.02, embedding, slabsPerLayer), type: FLOAT32 },
        ]
      : []),
    ...(arch.shared === undefined
      ? []
      : [
          noise(`${at}ffn_gate_shexp.weight`, 0.03, embedding, slabWidth),
          noise(`${at}ffn_up_shexp.weight`, 0.03, embedding, slabWidth),
          noise(`${at}ffn_down_shexp.weight`, 0.03, slabWidth, embedding),
          ...(arch.shared === 'gated'
            ? [{ ...noise(`${at}ffn_gate_inp_shexp.weight`, 0.02, embedding), type: FLOAT32 }]
            : []),
        ]),
  ];
}

function typeOf(id: number): GgmlType {
  const type = ggmlType(id);
  if (type === undefined) throw new FleetError('internal.invariant', `no ggml type ${id}`);
  return type;
}
