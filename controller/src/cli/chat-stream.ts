/** What of a streamed chat answer the command shows. */
export interface ChatEvent {
  readonly text: string;
  /** Present in the last frames. */
  readonly fleetgate?: unknown;
  readonly usage?: unknown;
  readonly error?: { readonly message: string; readonly code: string | null };
}

/** Reads the frames of one answer from pieces of a stream, however they are cut. */
export class ChatStreamReader {
  #rest = '';

  /** True once `[DONE]` was read: an answer that ends without it was cut off. */
  done = false;

  read(piece: string): readonly ChatEvent[] {
    const frames = (this.#rest + piece).split('\n\n');
    this.#rest = frames.pop() ?? '';
    return frames.flatMap((frame) => this.#event(frame));
  }

  #event(frame: string): readonly ChatEvent[] {
    if (!frame.startsWith('data: ')) return [];
    const json = frame.slice('data: '.length);
    if (json === '[DONE]') {
      this.done = true;
      return [];
    }
    const { choices, fleetgate, usage, error } = JSON.parse(json) as {
      readonly choices?: readonly { readonly delta?: { readonly content?: string } }[];
    } & Omit<ChatEvent, 'text'>;
    return [
      {
        text: choices?.[0]?.delta?.content ?? '',
        ...(fleetgate === undefined ? {} : { fleetgate }),
        ...(usage === undefined ? {} : { usage }),
        ...(error === undefined ? {} : { error }),
      },
    ];
  }
}
