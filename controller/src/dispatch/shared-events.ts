import { joinedTokens, type RequestEvent } from './request-events.js';

/**
 * Events of one request for any number of readers, each from the first one on, also after the last.
 *
 * Keeps the whole answer; once it has ended, texts that came in pieces are one.
 */
export class SharedEvents implements AsyncIterable<RequestEvent> {
  #events: RequestEvent[] = [];
  #isOver = false;
  #wake: (() => void)[] = [];

  push(event: RequestEvent): void {
    this.#events.push(event);
    this.#tell();
  }

  /** Nothing more comes. Readers under way go on in the pieces that they began with. */
  end(): void {
    this.#isOver = true;
    const pieces = this.#events;
    this.#events = joined(pieces);
    this.#tell();
  }

  /** Of a request that has ended, all of them. */
  get all(): readonly RequestEvent[] {
    return this.#events;
  }

  /** Roughly what it takes in memory. */
  get bytes(): number {
    return this.#events.reduce((sum, event) => sum + JSON.stringify(event).length, 0);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RequestEvent, void, undefined> {
    const pieces = this.#events;
    for (let at = 0; ; at++) {
      while (at >= pieces.length) {
        if (this.#isOver) return;
        await new Promise<void>((resolve) => this.#wake.push(resolve));
      }
      const event = pieces[at];
      if (event !== undefined) yield event;
    }
  }

  #tell(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const reader of wake) reader();
  }
}

function joined(events: readonly RequestEvent[]): RequestEvent[] {
  const result: RequestEvent[] = [];
  for (const event of events) {
    const last = result.at(-1);
    if (event.kind === 'tokens' && last?.kind === 'tokens') {
      result[result.length - 1] = joinedTokens(last, event);
    } else {
      result.push(event);
    }
  }
  return result;
}
