import type { LlamaModel, Token } from 'node-llama-cpp';

import { Prompts } from './prompt-tokens.js';

/** Prompts of a model that node-llama-cpp holds. */
export class LlamaPrompts extends Prompts<Token> {
  readonly #model: LlamaModel;
  #vocabulary: readonly Token[] | undefined;

  constructor(model: LlamaModel) {
    const { bos, bosString, eosString, shouldPrependBosToken } = model.tokens;
    const template: unknown = model.fileInfo.metadata.tokenizer.chat_template;
    super({
      format: {
        template: typeof template === 'string' ? template : undefined,
        bosText: bosString ?? '',
        eosText: eosString ?? '',
      },
      firstToken: shouldPrependBosToken ? (bos ?? undefined) : undefined,
      tokenise: (text, how) =>
        how === 'plain' ? model.tokenize(text, false, 'trimLeadingSpace') : model.tokenize(text, true),
      specialTexts: () =>
        [...model.iterateAllTokens()]
          .filter((token) => model.isSpecialToken(token))
          .map((token) => model.detokenize([token], true)),
    });
    this.#model = model;
  }

  /** The token of that id; undefined when the model has none. */
  tokenOf(id: number): Token | undefined {
    this.#vocabulary ??= [...this.#model.iterateAllTokens()];
    return this.#vocabulary[id];
  }
}
