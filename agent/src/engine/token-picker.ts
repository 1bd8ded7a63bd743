import type { Sampling, TokenChoice } from '@fleetgate/shared/protocol/job';
import type { Random } from '@fleetgate/shared/random';
import type { NextTokens } from '@fleetgate/shared/mixture/next-token';

import type { GenerateExtras, GenerateResult } from './engine.js';
import { drawFromLogits, logTotal, topTokens } from './logits.js';

/** Takes away tokens that may not come. */
export interface Allowed {
  apply(logits: Float32Array): void;
  accept(token: number): void;
}

interface Picked {
  readonly token: number;
  readonly logProb: number;
  readonly top: NextTokens | undefined;
}

/** Picks the tokens of one answer from the model's logits, and remembers what was asked to be told of them. */
export class TokenPicker {
  readonly #logits: Float32Array;
  readonly #how: {
    readonly sampling: Pick<Sampling, 'temperature' | 'topP'>;
    readonly random: Random;
    readonly extras: GenerateExtras;
    readonly grammar: Allowed | undefined;
  };
  readonly #picks: Picked[] = [];

  /** `logits`: where they lie when `pick` is called. */
  constructor(
    logits: Float32Array,
    how: {
      readonly sampling: Sampling;
      readonly random: Random;
      readonly extras: GenerateExtras;
      readonly grammar: Allowed | undefined;
    },
  ) {
    this.#logits = logits;
    this.#how = how;
  }

  pick(): number {
    const { sampling, random, extras, grammar } = this.#how;
    const { confidence, topLogProbs } = extras;
    const wanted = confidence === true || topLogProbs !== undefined;
    // Before the grammar: what the model thinks, not what it is allowed to say.
    const total = wanted ? logTotal(this.#logits) : 0;
    const top = topLogProbs === undefined ? undefined : topTokens(this.#logits, topLogProbs);
    const before = wanted && grammar !== undefined ? this.#logits.slice() : this.#logits;
    grammar?.apply(this.#logits);
    const token = drawFromLogits(this.#logits, sampling, random);
    if (wanted) this.#picks.push({ token, logProb: Math.min(0, (before[token] ?? 0) - total), top });
    return token;
  }

  /** The token is one of the answer: the grammar goes on from it. */
  accept(token: number): void {
    this.#how.grammar?.accept(token);
  }

  /** What is to be told with the text of the token that was picked last. */
  toldWithText(textOf: (token: number) => string): readonly TokenChoice[] {
    const { choicesWithText, topLogProbs } = this.#how.extras;
    if (choicesWithText !== true || topLogProbs === undefined) return [];
    return this.#picks.slice(-1).map((pick) => choiceOf(pick, textOf));
  }

  /**
   * What was asked for, of the answer's first tokens: the one that ended it is not told. `untold`: of what is told with the
   * text, what has come with none.
   */
  told(
    outputTokens: number,
    textOf: (token: number) => string,
    untold: readonly TokenChoice[],
  ): Pick<GenerateResult, 'meanLogProb' | 'choices'> {
    const { confidence, topLogProbs, choicesWithText } = this.#how.extras;
    const picks = this.#picks.slice(0, outputTokens);
    const mean = picks.reduce((sum, { logProb }) => sum + logProb, 0) / picks.length;
    const choices = (): readonly TokenChoice[] =>
      choicesWithText === true ? untold : picks.map((pick) => choiceOf(pick, textOf));
    return {
      ...(confidence !== true || picks.length === 0 ? {} : { meanLogProb: mean }),
      ...(topLogProbs === undefined ? {} : { choices: choices() }),
    };
  }
}

function choiceOf({ token, logProb, top }: Picked, textOf: (token: number) => string): TokenChoice {
  const likely = (top?.ids ?? []).map((id, i) => ({ text: textOf(id), logProb: top?.logProbs[i] ?? -Infinity }));
  return { text: textOf(token), logProb, top: likely };
}
