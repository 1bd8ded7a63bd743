import type { Clock } from '@fleetgate/shared/clock';
import { type Milliseconds, milliseconds } from '@fleetgate/shared/units/quantity';

/** What of a server's response is needed to write a stream of events; Node's has it. */
export interface ResponseSink {
  readonly destroyed: boolean;
  readonly writableFinished: boolean;
  writeHead(status: number, headers: Record<string, number | string | string[]>): unknown;
  write(text: string): boolean;
  end(): unknown;
  destroy(): unknown;
  on(event: 'close' | 'drain', listener: () => void): unknown;
  off(event: 'close' | 'drain', listener: () => void): unknown;
}

export const SSE_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
  connection: 'keep-alive',
} as const;

/** JSON of one event; with a name where the API gives its events names. */
export type Frame = string | { readonly event: string; readonly data: string };

/** Proxies cut connections that are silent for 15 s or more. */
export const KEEP_ALIVE = milliseconds(10_000);
/** A client that takes nothing for this long is gone: its answer must not hold a device. */
export const READ_DEADLINE = milliseconds(60_000);

/**
 * One stream of server-sent events on a response.
 *
 * `send` waits while the client does not read, up to `readDeadline`; then the response is destroyed, which its owner
 * sees as `close`. After the response is destroyed nothing is written and nothing throws.
 */
export class EventStream {
  readonly #sink: ResponseSink;
  readonly #clock: Clock;
  readonly #readDeadline: Milliseconds;
  #opened = false;

  constructor(sink: ResponseSink, clock: Clock, readDeadline: Milliseconds = READ_DEADLINE) {
    this.#sink = sink;
    this.#clock = clock;
    this.#readDeadline = readDeadline;
  }

  get opened(): boolean {
    return this.#opened;
  }

  /** Sends the head; only the first call does anything. */
  open(headers: () => Record<string, number | string | string[]>): void {
    if (this.#opened || this.#sink.destroyed) return;
    this.#opened = true;
    this.#sink.writeHead(200, { ...headers(), ...SSE_HEADERS });
  }

  /** `frames` go out in one write. */
  async send(...frames: readonly Frame[]): Promise<void> {
    if (this.#sink.destroyed) return;
    let text = '';
    for (const frame of frames) {
      text += typeof frame === 'string' ? `data: ${frame}\n\n` : `event: ${frame.event}\ndata: ${frame.data}\n\n`;
    }
    if (!this.#sink.write(text)) await this.#drained();
  }

  /** A comment: clients ignore it, connections live by it. */
  keepAlive(): void {
    if (!this.#sink.destroyed) this.#sink.write(': keep-alive\n\n');
  }

  /** Sends `frames` and ends; with `[DONE]` after a whole answer where the API wants it, without it after an error frame. */
  async end(mark: 'done' | 'none', ...frames: readonly Frame[]): Promise<void> {
    await this.send(...frames, ...(mark === 'done' ? ['[DONE]'] : []));
    if (this.#sink.destroyed) return;
    // What is left in buffers is waited for no longer than what did not fit into them.
    const stop = this.#clock.after(this.#readDeadline, () => this.#sink.destroy());
    this.#sink.on('close', stop);
    this.#sink.end();
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const settle = (): void => {
        stop();
        this.#sink.off('drain', settle);
        this.#sink.off('close', settle);
        resolve();
      };
      const stop = this.#clock.after(this.#readDeadline, () => {
        this.#sink.destroy();
        settle();
      });
      this.#sink.on('drain', settle);
      this.#sink.on('close', settle);
    });
  }
}
