import { isFleetError } from '@fleetgate/shared/errors';
import { variantIdSchema } from '@fleetgate/shared/ids';

import type { Engine } from '../engine/engine.js';

/** A file, and how many slabs a token uses where that is not as the file says. */
export interface ServedFile {
  readonly path: string;
  readonly slabsPerToken?: number | undefined;
}

export interface TaskTexts {
  readonly task: string;
  readonly pairs: readonly { readonly prompt: string; readonly completion: string }[];
}

/** Bits per byte, by task. */
export type BitsByTask = Readonly<Record<string, number>>;

/** Stands for "no longer a language model": chance comes to about 2 to 4 bits per byte. */
const BROKEN = 99;
const SPEED_TOKENS = 48;
const VARIANT = variantIdSchema.parse('measured');

/** Measures what builds are worth, one after the other, on an engine of its own. */
export class VariantScorer {
  readonly #engine: Engine;
  readonly #contextTokens: number;

  constructor(engine: Engine, contextTokens: number) {
    this.#engine = engine;
    this.#contextTokens = contextTokens;
  }

  /**
   * Bits per byte of the completions given their prompts, each task's texts taken together. Texts whose prompt does not
   * fit into the context are left out, for every build of a model the same ones.
   */
  async bitsPerByte(file: ServedFile, tasks: readonly TaskTexts[], signal: AbortSignal): Promise<BitsByTask> {
    await this.#load(file, signal);
    try {
      const result: Record<string, number> = {};
      for (const { task, pairs } of tasks) result[task] = await this.#ofTask(pairs, signal);
      return result;
    } finally {
      await this.#engine.unload(VARIANT);
    }
  }

  /**
   * Output tokens per second on this machine, one answer at a time: the median over the texts' prompts, each answered with
   * up to SPEED_TOKENS. Undefined where no answer had more than one token.
   */
  async decodeRate(file: ServedFile, tasks: readonly TaskTexts[], signal: AbortSignal): Promise<number | undefined> {
    await this.#load(file, signal);
    try {
      const rates: number[] = [];
      for (const { prompt } of tasks.flatMap(({ pairs }) => pairs)) {
        const input = { kind: 'chat' as const, messages: [{ role: 'user' as const, content: prompt }] };
        const sampling = { maxTokens: SPEED_TOKENS, temperature: 0, topP: 1, stop: [] };
        const { outputTokens, decode } = await this.#engine.generate(VARIANT, input, sampling, () => {}, signal);
        // The first one is the prefill's.
        if (outputTokens > 1 && decode > 0) rates.push((1000 * (outputTokens - 1)) / decode);
      }
      return rates.toSorted((a, b) => a - b)[Math.floor(rates.length / 2)];
    } finally {
      await this.#engine.unload(VARIANT);
    }
  }

  async #load({ path, slabsPerToken }: ServedFile, signal: AbortSignal): Promise<void> {
    const serving = slabsPerToken === undefined ? {} : { serving: { slabsPerToken } };
    const model = { variantId: VARIANT, path, contextTokens: this.#contextTokens, stop: [], ...serving };
    await this.#engine.load(model, signal);
  }

  async #ofTask(pairs: TaskTexts['pairs'], signal: AbortSignal): Promise<number> {
    let [bits, bytes] = [0, 0];
    for (const { prompt, completion } of pairs) {
      try {
        const score = await this.#engine.score(VARIANT, prompt, completion, signal);
        bits += score.bits;
        bytes += score.bytes;
      } catch (error) {
        if (!isFleetError(error, 'request.invalid')) throw error;
      }
    }
    const value = bits / bytes;
    return Number.isFinite(value) ? Math.min(BROKEN, value) : BROKEN;
  }
}

/** Every task counts the same. */
export function meanOf(bits: BitsByTask): number {
  const values = Object.values(bits);
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

/** What `bits` are beyond `source`, task by task. */
export function lossOf(bits: BitsByTask, source: BitsByTask): BitsByTask {
  return Object.fromEntries(Object.entries(bits).map(([task, value]) => [task, value - (source[task] ?? value)]));
}
