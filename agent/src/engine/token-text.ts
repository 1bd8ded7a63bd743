/** Turns tokens into text; `before` are tokens that precede them (some tokenizers space words by them). */
export type Detokenise<Token> = (tokens: readonly Token[], before: readonly Token[]) => string;

const REPLACEMENT = '\uFFFD';
/** Tokens before the window that are shown to the tokenizer. */
const LOOK_BACK = 4;

/**
 * Text of a growing sequence of tokens. A character whose bytes are split over tokens comes out whole, with the token
 * that completes it: an incomplete character at the end decodes to one U+FFFD, which is held back.
 */
export class TokenText<Token> {
  readonly #detokenise: Detokenise<Token>;
  #before: readonly Token[];
  #window: Token[] = [];
  #sent = 0;

  constructor(detokenise: Detokenise<Token>, before: readonly Token[]) {
    this.#detokenise = detokenise;
    this.#before = before.slice(-LOOK_BACK);
  }

  push(token: Token): string {
    this.#window.push(token);
    const text = this.#detokenise(this.#window, this.#before);
    const whole = text.endsWith(REPLACEMENT) ? text.slice(0, -1) : text;
    const fresh = whole.slice(this.#sent);
    if (whole.length === text.length) {
      this.#before = [...this.#before, ...this.#window].slice(-LOOK_BACK);
      this.#window = [];
      this.#sent = 0;
    } else {
      this.#sent = Math.max(this.#sent, whole.length);
    }
    return fresh;
  }

  /** What is left when no more tokens come: U+FFFD when the last character was never completed. */
  flush(): string {
    const rest = this.#detokenise(this.#window, this.#before).slice(this.#sent);
    this.#window = [];
    this.#sent = 0;
    return rest;
  }
}
