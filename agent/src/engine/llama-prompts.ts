import type { LlamaModel, Token } from 'node-llama-cpp';

import { FleetError } from '@fleetgate/shared/errors';
import type { ChatMessage } from '@fleetgate/shared/protocol/job';

import { guardSpecials, renderChat } from './chat-prompt.js';
import type { GenerateInput } from './engine.js';

export interface PromptTokens {
  readonly tokens: Token[];
  /** Stop strings that the prompt's format needs. */
  readonly stop: readonly string[];
  readonly endsWithSpace: boolean;
}

/** Turns inputs into a model's tokens, by the chat template and the special tokens of its own file. */
export class LlamaPrompts {
  readonly #model: LlamaModel;
  #specials: readonly string[] | undefined;
  #vocabulary: readonly Token[] | undefined;

  constructor(model: LlamaModel) {
    this.#model = model;
  }

  /**
   * A raw prompt is the caller's own: special tokens spelled in it count. In chat messages they are plain text, only
   * the template's count. The beginning token is put first where the model wants one.
   */
  tokensOf(input: GenerateInput): PromptTokens {
    const { parts, stop } =
      input.kind === 'complete' ? { parts: [input.prompt], stop: [] } : this.#chatParts(input.messages);
    const tokens = parts.flatMap((part) => this.#model.tokenize(part, true));
    const { bos, shouldPrependBosToken } = this.#model.tokens;
    if (shouldPrependBosToken && bos !== null && tokens[0] !== bos) tokens.unshift(bos);
    if (tokens.length === 0) {
      throw new FleetError('request.invalid', 'the prompt is empty, expected at least one token');
    }
    return { tokens, stop, endsWithSpace: /\s$/.test(parts.at(-1) ?? '') };
  }

  /** The token of that id; undefined when the model has none. */
  tokenOf(id: number): Token | undefined {
    this.#vocabulary ??= [...this.#model.iterateAllTokens()];
    return this.#vocabulary[id];
  }

  #chatParts(messages: readonly ChatMessage[]): { parts: readonly string[]; stop: readonly string[] } {
    const { bosString, eosString } = this.#model.tokens;
    const template: unknown = this.#model.fileInfo.metadata.tokenizer.chat_template;
    const format = {
      template: typeof template === 'string' ? template : undefined,
      bosText: bosString ?? '',
      eosText: eosString ?? '',
    };
    this.#specials ??= this.#specialTexts();
    return guardSpecials(messages, this.#specials, (guarded) => renderChat(format, guarded));
  }

  #specialTexts(): readonly string[] {
    const texts: string[] = [];
    for (const token of this.#model.iterateAllTokens()) {
      if (this.#model.isSpecialToken(token)) texts.push(this.#model.detokenize([token], true));
    }
    return texts;
  }
}
