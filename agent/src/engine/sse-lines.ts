/**
 * Splits the bytes of a server-sent event stream into the values of its `data:` lines.
 *
 * Bytes may come cut anywhere, also within a character or a line end. Other fields, comments and blank lines are left
 * out; every `data:` line counts by itself, as OpenAI-compatible servers send one per event.
 */
export class SseLines {
  readonly #decoder = new TextDecoder('utf-8');
  readonly #longest: number;
  #rest = '';

  /** A line of more than `longest` characters is a fault of the sender: `push` throws a RangeError. */
  constructor(longest: number) {
    this.#longest = longest;
  }

  push(bytes: Uint8Array): readonly string[] {
    return this.#lines(this.#decoder.decode(bytes, { stream: true }), false);
  }

  /** Values of lines that were not ended. */
  flush(): readonly string[] {
    return this.#lines(this.#decoder.decode(), true);
  }

  #lines(text: string, last: boolean): readonly string[] {
    const lines = (this.#rest + text).split('\n');
    this.#rest = last ? '' : (lines.pop() ?? '');
    if (this.#rest.length > this.#longest) throw new RangeError(`a line of more than ${this.#longest} characters`);
    return lines
      .map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line))
      .filter((line) => line.startsWith('data:'))
      .map((line) => line.slice(line.startsWith('data: ') ? 6 : 5));
  }
}
