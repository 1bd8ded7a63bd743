/**
 * The process that drives llama.cpp's library directly for `bench engine`, with nothing of the engine around it: reads the
 * prompt in the library's own batches, then evaluates the likeliest token again and again. One request at a time over IPC.
 */
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { messageOf } from '@fleetgate/shared/errors';

import { Prompts } from '../engine/prompt-tokens.js';
import { SlabVocabulary } from '../engine/slab-vocabulary.js';
import { type Address, type LlamaLibrary, openLlamaLibrary } from '../native/llama-library.js';
import type { Batch } from '../native/llama-structs.js';

export type DirectRequest =
  | { readonly kind: 'open'; readonly path: string; readonly contextTokens: number; readonly threads: number }
  | { readonly kind: 'answer'; readonly prompt: string; readonly maxTokens: number };

/** Times from the request's arrival on; CPU of the whole process. */
export interface DirectAnswer {
  readonly promptTokens: number;
  /** Evaluations after the prompt's. */
  readonly decoded: number;
  readonly firstMs: number;
  readonly firstCpuMs: number;
  readonly totalMs: number;
  readonly totalCpuMs: number;
  readonly text: string;
}

export type FromDirectChild =
  | { readonly kind: 'opened'; readonly version: string }
  | { readonly kind: 'answered'; readonly answer: DirectAnswer }
  | { readonly kind: 'failed'; readonly message: string };

/** llama.cpp's own default (`n_ubatch`), and what it pads a context to. */
const BATCH_TOKENS = 512;
const CONTEXT_STEP = 256;

class DirectModel {
  readonly #library: LlamaLibrary;
  readonly #context: Address;
  readonly #memory: Address;
  readonly #vocabulary: SlabVocabulary;
  readonly #prompts: Prompts<number>;
  readonly #batch: Batch;
  readonly #arrays = {
    token: new Int32Array(BATCH_TOKENS),
    pos: new Int32Array(BATCH_TOKENS),
    output: new Int8Array(BATCH_TOKENS),
  };
  readonly #logits: Float32Array;

  private constructor(library: LlamaLibrary, context: Address, vocabulary: SlabVocabulary) {
    this.#library = library;
    this.#context = context;
    this.#memory = library.memory(context);
    this.#vocabulary = vocabulary;
    this.#prompts = new Prompts(vocabulary);
    this.#logits = new Float32Array(vocabulary.size);
    const sequence = library.fixedInts(1);
    this.#batch = {
      n_tokens: 0,
      token: this.#arrays.token,
      embd: null,
      pos: this.#arrays.pos,
      n_seq_id: new Int32Array(BATCH_TOKENS).fill(1),
      seq_id: new BigUint64Array(BATCH_TOKENS).fill(BigInt(sequence.address)),
      logits: this.#arrays.output,
    };
  }

  static async open({ path, contextTokens, threads }: DirectRequest & { kind: 'open' }): Promise<DirectModel> {
    const library = await openLlamaLibrary();
    const modelParams = library.modelDefaultParams();
    modelParams.n_gpu_layers = 0;
    const model = library.modelLoad(path, modelParams);
    if (model === 0) throw new Error(`${path} cannot be loaded: ${library.log.join(' | ')}`);
    const params = library.contextDefaultParams();
    params.n_ctx = CONTEXT_STEP * Math.ceil(contextTokens / CONTEXT_STEP);
    params.n_batch = params.n_ubatch = Math.min(BATCH_TOKENS, params.n_ctx);
    params.n_seq_max = 1;
    params.n_threads = params.n_threads_batch = threads;
    params.no_perf = true;
    const context = library.init(model, params);
    if (context === 0) throw new Error(`no context for ${path}: ${library.log.join(' | ')}`);
    return new DirectModel(
      library,
      context,
      new SlabVocabulary(library, library.modelVocab(model), await readGguf(path)),
    );
  }

  answer(prompt: string, maxTokens: number): DirectAnswer {
    const startedAt = performance.now();
    const before = process.cpuUsage();
    const { tokens } = this.#prompts.tokensOf({ kind: 'complete', prompt });
    this.#library.seqRm(this.#memory, -1, 0, -1);
    for (let from = 0; from < tokens.length; from += BATCH_TOKENS) {
      const part = tokens.slice(from, from + BATCH_TOKENS);
      this.#evaluate(part, from, from + part.length === tokens.length);
    }
    const output = [this.#likeliest((tokens.length - 1) % BATCH_TOKENS)];
    const [firstMs, firstCpuMs] = [performance.now() - startedAt, cpuSince(before)];
    let decoded = 0;
    for (let last = output[0] ?? 0; output.length < maxTokens && !this.#vocabulary.endsAnswer(last); decoded++) {
      this.#evaluate([last], tokens.length + decoded, true);
      last = this.#likeliest(0);
      output.push(last);
    }
    const [totalMs, totalCpuMs] = [performance.now() - startedAt, cpuSince(before)];
    const said = output.filter((token) => !this.#vocabulary.endsAnswer(token));
    const text = this.#vocabulary.detokenise(said);
    return { promptTokens: tokens.length, decoded, firstMs, firstCpuMs, totalMs, totalCpuMs, text };
  }

  #evaluate(tokens: readonly number[], from: number, wantsLast: boolean): void {
    for (const [i, token] of tokens.entries()) {
      this.#arrays.token[i] = token;
      this.#arrays.pos[i] = from + i;
      this.#arrays.output[i] = wantsLast && i === tokens.length - 1 ? 1 : 0;
    }
    this.#batch.n_tokens = tokens.length;
    const code = this.#library.decode(this.#context, this.#batch);
    if (code !== 0) throw new Error(`evaluating ${tokens.length} tokens failed with code ${code}`);
  }

  #likeliest(at: number): number {
    this.#library.copy(this.#logits, this.#library.logitsIth(this.#context, at), this.#logits.byteLength);
    let best = 0;
    let most = -Infinity;
    for (let token = 0; token < this.#logits.length; token++) {
      const logit = this.#logits[token] ?? -Infinity;
      if (logit > most) [best, most] = [token, logit];
    }
    return best;
  }
}

function cpuSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

let model: DirectModel | undefined;

async function handle(request: DirectRequest): Promise<FromDirectChild> {
  if (request.kind === 'open') {
    model = await DirectModel.open(request);
    return { kind: 'opened', version: (await openLlamaLibrary()).version };
  }
  if (model === undefined) throw new Error('no model is open');
  return { kind: 'answered', answer: model.answer(request.prompt, request.maxTokens) };
}

process.on('message', (request: DirectRequest) => {
  handle(request)
    .catch((error: unknown): FromDirectChild => ({ kind: 'failed', message: messageOf(error) }))
    .then((answer) => process.connected && process.send?.(answer))
    .catch(() => process.exit(1));
});
// A terminal's Ctrl-C reaches the whole group; the parent decides when this process ends.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit(0));
