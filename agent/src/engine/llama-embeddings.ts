import type { LlamaEmbeddingContext, LlamaModel } from 'node-llama-cpp';

import { milliseconds } from '@fleetgate/shared/units/quantity';

import { checkEmbedded, unitVector } from './embedding.js';
import type { EmbedResult, EngineModel } from './engine.js';
import { cancelled, loadError } from './llama-failure.js';
import type { LlamaPrompts } from './llama-prompts.js';

/** Embeds texts in a context of its own, made when it is first asked for: most models never are. */
export class LlamaEmbeddings {
  readonly #llamaModel: LlamaModel;
  readonly #model: EngineModel;
  readonly #threads: number;
  #context: Promise<LlamaEmbeddingContext> | undefined;

  constructor(llamaModel: LlamaModel, model: EngineModel, threads: number) {
    this.#llamaModel = llamaModel;
    this.#model = model;
    this.#threads = threads;
  }

  async embed(
    prompts: LlamaPrompts,
    texts: readonly string[],
    onProgress: () => void,
    signal: AbortSignal,
  ): Promise<EmbedResult> {
    const startedAt = performance.now();
    const tokens = texts.map((prompt) => prompts.tokensOf({ kind: 'complete', prompt }).tokens);
    for (const [i, text] of tokens.entries()) checkEmbedded(text.length, this.#model.contextTokens, i);
    const context = await (this.#context ??= this.#open());
    const vectors: (readonly number[])[] = [];
    for (const text of tokens) {
      if (signal.aborted) throw cancelled('embedding');
      vectors.push(unitVector((await context.getEmbeddingFor(text)).vector));
      onProgress();
    }
    const promptTokens = tokens.reduce((all, text) => all + text.length, 0);
    return { vectors, promptTokens, duration: milliseconds(performance.now() - startedAt) };
  }

  async dispose(): Promise<void> {
    await (await this.#context?.catch(() => undefined))?.dispose();
  }

  async #open(): Promise<LlamaEmbeddingContext> {
    try {
      const { contextTokens: contextSize } = this.#model;
      return await this.#llamaModel.createEmbeddingContext({ contextSize, threads: this.#threads });
    } catch (error) {
      this.#context = undefined;
      throw loadError(this.#model, error, '', new AbortController().signal);
    }
  }
}
