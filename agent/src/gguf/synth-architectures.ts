/** What sets a mixture's architecture apart from the plainest one, as far as its file shows. */
export interface SynthArchitecture {
  /** Norms on queries and keys: none, one a head, or over the whole width. */
  readonly attentionNorm?: 'head' | 'full';
  /** Keys and values have as many heads as queries. */
  readonly fullHeads?: boolean;
  /** Biases on the norms, the output and the attention's output. */
  readonly biases?: 'norms' | 'attention-output';
  /** `post_attention_norm` takes the place of `ffn_norm`. */
  readonly postNorm?: boolean;
  readonly attentionSinks?: boolean;
  /** Latent attention (DeepSeek): keys and values from a narrow projection. */
  readonly latentAttention?: boolean;
  /** Router and slabs with biases. */
  readonly slabBiases?: boolean;
  /** A bias for the choice only. */
  readonly choiceBias?: boolean;
  /** Experts that every token uses: plain, or weighed by a gate of their own; their width is given so. */
  readonly shared?: 'plain' | 'gated';
  readonly sharedKey?: 'count' | 'width';
  /** The first layer is dense. */
  readonly leadingDense?: boolean;
  /** The router chooses groups of slabs first. */
  readonly groups?: boolean;
  /** `expert_gating_func`: 1 softmax, 2 sigmoid. */
  readonly gating?: 1 | 2;
  /** `expert_weights_norm`, where the architecture reads it. */
  readonly weightsNorm?: boolean;
  /** The slabs' width is the feed-forward's own, not that of experts. */
  readonly widthKey?: 'feed_forward';
  readonly extra?: Readonly<Record<string, number>>;
  readonly extraCounts?: Readonly<Record<string, number>>;
}

/** Architectures that `gguf synth` makes files of; llama.cpp loads all of them (docs/moe-architectures.md). */
export const SYNTH_ARCHITECTURES: Readonly<Record<string, SynthArchitecture>> = {
  qwen3moe: { attentionNorm: 'head' },
  llama: { widthKey: 'feed_forward' },
  qwen2moe: { fullHeads: true, shared: 'gated', sharedKey: 'width' },
  olmoe: { attentionNorm: 'full', fullHeads: true, widthKey: 'feed_forward' },
  granitemoe: { shared: 'plain', sharedKey: 'width', widthKey: 'feed_forward', extra: { logit_scale: 1 } },
  phimoe: { biases: 'norms', widthKey: 'feed_forward', fullHeads: true },
  bailingmoe: { shared: 'plain', sharedKey: 'count', leadingDense: false, weightsNorm: true },
  'hunyuan-moe': { attentionNorm: 'head', shared: 'plain', sharedKey: 'width', widthKey: 'feed_forward' },
  dots1: {
    attentionNorm: 'head',
    fullHeads: true,
    shared: 'plain',
    sharedKey: 'count',
    leadingDense: true,
    choiceBias: true,
    gating: 2,
    weightsNorm: true,
  },
  glm4moe: {
    postNorm: true,
    shared: 'plain',
    sharedKey: 'count',
    leadingDense: true,
    choiceBias: true,
    gating: 2,
    weightsNorm: true,
  },
  deepseek2: {
    latentAttention: true,
    shared: 'plain',
    sharedKey: 'count',
    leadingDense: true,
    choiceBias: true,
    groups: true,
    gating: 2,
    weightsNorm: true,
  },
  'gpt-oss': {
    postNorm: true,
    attentionSinks: true,
    biases: 'attention-output',
    slabBiases: true,
    extraCounts: { 'attention.sliding_window': 128 },
  },
};
