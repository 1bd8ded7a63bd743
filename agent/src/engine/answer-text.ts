import { StopFilter } from './stop-filter.js';

/**
 * Sends an answer's text on as it comes: nothing of a stop string, and for a chat without the one space that chat
 * templates leave before the first word.
 */
export class AnswerText {
  readonly #stops: StopFilter;
  readonly #onText: (text: string, tokens: number) => void;
  #trimming: boolean;
  #unsentTokens = 0;

  constructor(stops: readonly string[], kind: 'chat' | 'complete', onText: (text: string, tokens: number) => void) {
    this.#stops = new StopFilter(stops);
    this.#trimming = kind === 'chat';
    this.#onText = onText;
  }

  /** True once a stop string was seen: the rest of the answer is not wanted. */
  get stopped(): boolean {
    return this.#stops.stopped;
  }

  /** Text of one more token; it may be empty. */
  push(text: string): void {
    this.#unsentTokens++;
    this.#send(this.#stops.push(text));
  }

  /** The answer is complete; `rest` is text that belongs to tokens pushed before. */
  flush(rest = ''): void {
    this.#send(this.#stops.push(rest) + this.#stops.flush());
  }

  #send(piece: string): void {
    const text = this.#trimming && piece.startsWith(' ') ? piece.slice(1) : piece;
    if (piece !== '') this.#trimming = false;
    if (text === '') return;
    this.#onText(text, this.#unsentTokens);
    this.#unsentTokens = 0;
  }
}
