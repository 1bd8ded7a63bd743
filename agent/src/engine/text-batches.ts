import type { Clock } from '@fleetgate/shared/clock';
import type { TokenChoice } from '@fleetgate/shared/protocol/job';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { OnText } from './engine.js';

/** Between two messages, as the agent has between its own. Models slower than that have a message a token. */
const GAP = milliseconds(25);

/**
 * Text of an answer on its way out of the engine's process: the first piece at once, then at most one message in a gap. A
 * message costs its two sides 0.1 ms each, and three times that where a model has just gone through the caches.
 */
export class TextBatches {
  readonly #clock: Clock;
  readonly #send: OnText;
  #text = '';
  #tokens = 0;
  #ids: number[] | undefined;
  #choices: TokenChoice[] | undefined;
  #isOpen = false;
  #cancel: () => void = () => {};

  constructor(clock: Clock, send: OnText) {
    this.#clock = clock;
    this.#send = send;
  }

  push(text: string, tokens: number, ids?: readonly number[], choices?: readonly TokenChoice[]): void {
    this.#text += text;
    this.#tokens += tokens;
    if (ids !== undefined) this.#ids = [...(this.#ids ?? []), ...ids];
    if (choices !== undefined) this.#choices = [...(this.#choices ?? []), ...choices];
    if (!this.#isOpen) this.#open();
  }

  /** Sends what is held back; to be called when no more will come. */
  end(): void {
    this.#cancel();
    this.#isOpen = false;
    this.#flush();
  }

  #open(): void {
    this.#flush();
    this.#isOpen = true;
    this.#cancel = this.#clock.after(GAP, () => {
      this.#isOpen = false;
      if (this.#text !== '') this.#open();
    });
  }

  #flush(): void {
    if (this.#text === '') return;
    const [text, tokens, ids, choices] = [this.#text, this.#tokens, this.#ids, this.#choices];
    [this.#text, this.#tokens, this.#ids, this.#choices] = ['', 0, undefined, undefined];
    this.#send(text, tokens, ids, choices);
  }
}
