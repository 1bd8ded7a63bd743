import type { TokenChoice } from '@fleetgate/shared/protocol/job';

import type { OnText } from './engine.js';
import { StopFilter } from './stop-filter.js';

export interface AnswerTextOptions {
  /** Whether tokens are told with the text. */
  readonly tellIds?: boolean | undefined;
  /** The reader has the beginning of the answer. */
  readonly isBegun?: boolean | undefined;
}

/**
 * Sends an answer's text on as it comes: nothing of a stop string, and for a chat without the one space that chat
 * templates leave before the first word.
 */
export class AnswerText {
  readonly #stops: StopFilter;
  readonly #onText: OnText;
  readonly #tellIds: boolean;
  #trimming: boolean;
  /** Characters that the reader has of what comes next. */
  #known = 0;
  #unsentTokens = 0;
  #unsentIds: number[] = [];
  #unsentChoices: TokenChoice[] = [];

  constructor(
    stops: readonly string[],
    kind: 'chat' | 'complete',
    onText: OnText,
    { tellIds = false, isBegun = false }: AnswerTextOptions = {},
  ) {
    this.#stops = new StopFilter(stops);
    this.#tellIds = tellIds;
    this.#trimming = kind === 'chat' && !isBegun;
    this.#onText = onText;
  }

  /** True once a stop string was seen: the rest of the answer is not wanted. */
  get stopped(): boolean {
    return this.#stops.stopped;
  }

  /** How likely tokens were that no text was sent of. */
  get untold(): readonly TokenChoice[] {
    return this.#unsentChoices;
  }

  /** Texts of the answer's first tokens, of which the reader has `characters`: those are not sent again. */
  replay(texts: readonly string[], characters: number): void {
    this.#known = characters;
    for (const text of texts) this.#send(this.#stops.push(text));
  }

  /** Text of one more token; it may be empty. `choices`: to be told with it. */
  push(text: string, id?: number, choices: readonly TokenChoice[] = []): void {
    this.#unsentTokens++;
    if (this.#tellIds && id !== undefined) this.#unsentIds.push(id);
    this.#unsentChoices.push(...choices);
    this.#send(this.#stops.push(text));
  }

  /** The answer is complete; `rest` is text that belongs to tokens pushed before. */
  flush(rest = ''): void {
    this.#send(this.#stops.push(rest) + this.#stops.flush());
  }

  #send(piece: string): void {
    const all = this.#trimming && piece.startsWith(' ') ? piece.slice(1) : piece;
    if (piece !== '') this.#trimming = false;
    const text = all.slice(this.#known);
    this.#known -= all.length - text.length;
    if (text === '') return;
    const choices = this.#unsentChoices.length === 0 ? undefined : this.#unsentChoices;
    this.#onText(text, this.#unsentTokens, this.#tellIds ? this.#unsentIds : undefined, choices);
    this.#unsentTokens = 0;
    this.#unsentIds = [];
    this.#unsentChoices = [];
  }
}
