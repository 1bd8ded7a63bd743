import { connect, type Socket } from 'node:net';

/** A client that writes what it likes to a socket. */
export class RawClient {
  readonly #socket: Socket;
  #text = '';
  readonly #closed: Promise<void>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => {});
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1');
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new RawClient(socket);
  }

  /** Begins to read; before that nothing is taken from the socket. */
  read(): this {
    this.#socket.on('data', (part: Buffer) => {
      this.#text += part.toString('latin1');
    });
    return this;
  }

  write(bytes: string | Buffer): this {
    this.#socket.write(bytes);
    return this;
  }

  get isClosed(): boolean {
    return this.#socket.destroyed;
  }

  get text(): string {
    return this.#text;
  }

  /** What came until the server closed the connection. */
  async end(): Promise<string> {
    await this.#closed;
    return this.#text;
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** The text of a request. `headers` are lines. */
export function requestText(
  method: string,
  path: string,
  headers: readonly string[] = [],
  body?: string | Buffer,
): Buffer {
  const length = body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
  const head = [`${method} ${path} HTTP/1.1`, 'Host: localhost', ...headers, ...length].join('\r\n');
  return Buffer.concat([Buffer.from(`${head}\r\n\r\n`, 'latin1'), Buffer.from(body ?? '')]);
}
