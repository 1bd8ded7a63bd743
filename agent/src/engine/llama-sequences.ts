import type { LlamaContext, LlamaContextSequence, Token } from 'node-llama-cpp';

import { commonBeginning, SequencePool } from './sequence-pool.js';

interface HostSequence {
  readonly sequence: LlamaContextSequence;
  held: readonly Token[];
}

/** The sequences of a context; those that evaluate at once are evaluated together. */
export class LlamaSequences {
  readonly #pool: SequencePool<HostSequence>;

  constructor(context: LlamaContext) {
    const all = Array.from({ length: context.totalSequences }, () => ({ sequence: context.getSequence(), held: [] }));
    this.#pool = new SequencePool<HostSequence>(all);
  }

  /**
   * Runs on a sequence of its own, waiting for one in turn; with undefined when aborted meanwhile. Of the prompt, what the
   * sequence holds from before is kept, all but the last token: that is evaluated again for what comes after it.
   */
  async using<T>(
    prompt: readonly Token[],
    signal: AbortSignal,
    run: (sequence: LlamaContextSequence | undefined, reusedTokens: number) => Promise<T>,
  ): Promise<T> {
    const taken = await this.#pool.acquire(prompt, signal);
    if (taken === undefined) return run(undefined, 0);
    const { sequence } = taken;
    try {
      const common = Math.min(commonBeginning(taken.held, prompt), Math.max(0, prompt.length - 1));
      if (common === 0) await sequence.clearHistory();
      else if (common < sequence.nextTokenIndex) {
        await sequence.eraseContextTokenRanges([{ start: common, end: sequence.nextTokenIndex }]);
      }
      return await run(sequence, sequence.nextTokenIndex);
    } finally {
      taken.held = sequence.contextTokens;
      this.#pool.release(taken);
    }
  }
}
