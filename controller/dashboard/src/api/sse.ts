/** Server-sent events from text in arbitrary pieces (WHATWG HTML, 9.2.6). Pure. */

export interface SseFrame {
  /** `message` when the frame names none. */
  readonly event: string;
  readonly data: string;
}

/** No frame of the controller comes near this; a stream that does is not one of ours. */
const MAX_FRAME_CHARS = 8 * 1024 * 1024;

export class SseParser {
  #rest = '';
  #event = '';
  #data: string[] = [];
  #size = 0;

  /** Frames that `text` completes. Throws RangeError when a frame grows without end. */
  push(text: string): readonly SseFrame[] {
    const frames: SseFrame[] = [];
    this.#rest += text;
    for (;;) {
      const match = /\r\n|\n|\r(?!$)/.exec(this.#rest);
      if (match === null) break;
      const line = this.#rest.slice(0, match.index);
      this.#rest = this.#rest.slice(match.index + match[0].length);
      if (line === '') {
        if (this.#data.length > 0) frames.push({ event: this.#event || 'message', data: this.#data.join('\n') });
        this.#event = '';
        this.#data = [];
        this.#size = 0;
        continue;
      }
      this.#field(line);
    }
    if (this.#rest.length + this.#size > MAX_FRAME_CHARS) {
      throw new RangeError(`event stream: expected frames below ${MAX_FRAME_CHARS} characters`);
    }
    return frames;
  }

  #field(line: string): void {
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'event') this.#event = value;
    if (name === 'data') {
      this.#data.push(value);
      this.#size += value.length;
    }
  }
}
