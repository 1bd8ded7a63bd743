import { milliseconds } from '@fleetgate/shared/units/quantity';

import { checkEmbedded, unitVector } from './embedding.js';
import type { EmbedResult } from './engine.js';
import { cancelled } from './llama-failure.js';
import type { Prompts } from './prompt-tokens.js';
import type { SlabModel } from './slab-model.js';
import type { SlabSequences } from './slab-sequences.js';

/** Embeds texts on the sequences of a model whose slabs the engine looks after. */
export class SlabEmbeddings {
  readonly #slabModel: SlabModel;
  readonly #sequences: SlabSequences;
  readonly #contextTokens: number;
  /** Calls that want states. */
  #calls = 0;

  constructor(slabModel: SlabModel, sequences: SlabSequences, contextTokens: number) {
    this.#slabModel = slabModel;
    this.#sequences = sequences;
    this.#contextTokens = contextTokens;
  }

  async embed(prompts: Prompts<number>, texts: readonly string[], signal: AbortSignal): Promise<EmbedResult> {
    const startedAt = performance.now();
    const tokens = texts.map((prompt) => prompts.tokensOf({ kind: 'complete', prompt }).tokens);
    for (const [i, text] of tokens.entries()) checkEmbedded(text.length, this.#contextTokens, i);
    const vectors: (readonly number[])[] = [];
    // What others evaluate in the same go has its state read too, which costs next to nothing.
    this.#calls++;
    this.#slabModel.keepsStates = true;
    try {
      for (const text of tokens) {
        const state = await this.#sequences.using([], signal, async (sequence) =>
          this.#sequences.stateAfter(sequence, text, signal),
        );
        if (state === undefined) throw cancelled('embedding');
        vectors.push(unitVector(state));
      }
    } finally {
      this.#calls--;
      this.#slabModel.keepsStates = this.#calls > 0;
    }
    const promptTokens = tokens.reduce((all, text) => all + text.length, 0);
    return { vectors, promptTokens, duration: milliseconds(performance.now() - startedAt) };
  }
}
