/**
 * Lets text through up to the first stop string, which may come in pieces.
 *
 * Text that could be the beginning of a stop string is held back until it is certain, so no part of one ever gets out.
 */
export class StopFilter {
  readonly #stops: readonly string[];
  #held = '';
  #stopped = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop.length > 0);
  }

  /** True once a stop string was seen; nothing gets out from then on. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Takes the next piece and answers the text that is certain by now. */
  push(text: string): string {
    if (this.#stopped) return '';
    const all = this.#held + text;
    const ends = this.#stops.map((stop) => all.indexOf(stop)).filter((index) => index >= 0);
    if (ends.length > 0) {
      this.#stopped = true;
      this.#held = '';
      return all.slice(0, Math.min(...ends));
    }
    const certain = all.length - this.#uncertain(all);
    this.#held = all.slice(certain);
    return all.slice(0, certain);
  }

  /** The text held back, when no more will come. */
  flush(): string {
    const rest = this.#held;
    this.#held = '';
    return this.#stopped ? '' : rest;
  }

  /** Length of the longest end of `text` that begins a stop string. */
  #uncertain(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
