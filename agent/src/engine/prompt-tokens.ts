import { FleetError } from '@fleetgate/shared/errors';
import type { ChatMessage } from '@fleetgate/shared/protocol/job';

import { type ChatFormat, guardSpecials, renderChat } from './chat-prompt.js';
import type { GenerateInput } from './engine.js';

/** What prompts need of a model's vocabulary. */
export interface Vocabulary<Token> {
  readonly format: ChatFormat;
  /** The beginning token, where the model wants one put first. */
  readonly firstToken: Token | undefined;
  /** Special tokens spelled in the text become tokens, but where it is `plain`. */
  tokenise(text: string, how?: 'plain'): readonly Token[];
  /** How the special tokens are spelled. */
  specialTexts(): readonly string[];
}

export interface PromptTokens<Token> {
  readonly tokens: Token[];
  /** Stop strings that the prompt's format needs. */
  readonly stop: readonly string[];
  readonly endsWithSpace: boolean;
}

/** Turns inputs into a model's tokens, by the chat template and the special tokens of its own file. */
export class Prompts<Token> {
  readonly #vocabulary: Vocabulary<Token>;
  #specials: readonly string[] | undefined;

  constructor(vocabulary: Vocabulary<Token>) {
    this.#vocabulary = vocabulary;
  }

  /**
   * A raw prompt is the caller's own: special tokens spelled in it count. In chat messages they are plain text, only
   * the template's count. The beginning token is put first where the model wants one.
   */
  tokensOf(input: GenerateInput): PromptTokens<Token> {
    const { parts, stop } =
      input.kind === 'complete' ? { parts: [input.prompt], stop: [] } : this.#chatParts(input.messages);
    const tokens = parts.flatMap((part) => this.#vocabulary.tokenise(part));
    const { firstToken } = this.#vocabulary;
    if (firstToken !== undefined && tokens[0] !== firstToken) tokens.unshift(firstToken);
    if (tokens.length === 0) {
      throw new FleetError('request.invalid', 'the prompt is empty, expected at least one token');
    }
    return { tokens, stop, endsWithSpace: /\s$/.test(parts.at(-1) ?? '') };
  }

  /** Tokens of a text that an answer has begun with. */
  plain(text: string): readonly Token[] {
    return this.#vocabulary.tokenise(text, 'plain');
  }

  #chatParts(messages: readonly ChatMessage[]): { parts: readonly string[]; stop: readonly string[] } {
    this.#specials ??= this.#vocabulary.specialTexts();
    return guardSpecials(messages, this.#specials, (guarded) => renderChat(this.#vocabulary.format, guarded));
  }
}
