import { connect, type Socket } from 'node:net';

/** A load: as many connections as are to be busy at once, each with one request after the other. */
export interface Load {
  readonly port: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent in turns. */
  readonly bodies: readonly string[];
  readonly connections: number;
  /** No request is begun after so long, ms. */
  readonly durationMs: number;
  /** Nor after so many. */
  readonly requests: number;
}

export interface LoadResult {
  /** Answered whole and with 200. */
  readonly answered: number;
  readonly failed: number;
  /** What the first that failed was answered. */
  readonly firstFailure: string | undefined;
  readonly seconds: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** `data:` lines with JSON of a streamed answer, in the mean; 0 for one that is not streamed. */
  readonly frames: number;
}

/** An answer that does not come for this long has failed, ms. */
const ANSWER_DEADLINE_MS = 30_000;
const HEAD_END = '\r\n\r\n';
const LAST_CHUNK = '0\r\n\r\n';
const MOST_FAILURE_CHARACTERS = 2000;

/**
 * Loads POST /v1/chat/completions by kept connections. Reads no more of HTTP than a rig needs that knows its servers
 * (Content-Length or chunks, no pipelining), for it shares the machine with what it measures.
 */
export async function runLoad(load: Load): Promise<LoadResult> {
  const latencies: number[] = [];
  const requests = load.bodies.map((body) => requestText(load, body));
  const started = performance.now();
  let [begun, frames, failed] = [0, 0, 0];
  let firstFailure: string | undefined;
  const next = (): string | undefined => {
    if (begun >= load.requests || performance.now() - started >= load.durationMs) return undefined;
    return requests[begun++ % requests.length];
  };
  const one = async (): Promise<void> => {
    let connection = await Connection.open(load.port);
    for (let text = next(); text !== undefined; text = next()) {
      const sent = performance.now();
      const answer = await connection.ask(text);
      if (answer.startsWith('HTTP/1.1 200')) {
        latencies.push(performance.now() - sent);
        frames += answer.split('\ndata: {').length - 1;
      } else {
        failed += 1;
        firstFailure ??= answer.slice(0, MOST_FAILURE_CHARACTERS);
        connection.close();
        connection = await Connection.open(load.port);
      }
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: load.connections }, one));
  const seconds = (performance.now() - started) / 1000;
  const sorted = Float64Array.from(latencies).sort();
  const answered = sorted.length;
  const at = (share: number): number => sorted[Math.min(answered - 1, Math.floor(share * answered))] ?? NaN;
  const meanMs = sorted.reduce((sum, value) => sum + value, 0) / answered;
  return {
    answered,
    failed,
    firstFailure,
    seconds,
    meanMs,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    frames: frames / answered,
  };
}

function requestText({ port, headers }: Load, body: string): string {
  const all = {
    host: `127.0.0.1:${port}`,
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(body)),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return `POST /v1/chat/completions HTTP/1.1\r\n${lines.join('\r\n')}${HEAD_END}${body}`;
}

class Connection {
  readonly #socket: Socket;
  #answer = '';
  #settle: ((answer: string) => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    // A byte a character: lengths are of bytes.
    socket.setEncoding('latin1').setNoDelay(true);
    socket.setTimeout(ANSWER_DEADLINE_MS, () => socket.destroy());
    socket.on('data', (chunk: string) => {
      this.#answer += chunk;
      if (isWhole(this.#answer)) this.#end(this.#answer);
    });
    socket.on('error', (error) => this.#end(`connection: ${error.message}`));
    socket.on('close', () => this.#end('connection: closed'));
  }

  static open(port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.off('error', reject);
        resolve(new Connection(socket));
      });
      socket.once('error', reject);
    });
  }

  /** The answer with its head, or what is wrong with the connection. */
  ask(request: string): Promise<string> {
    return new Promise((resolve) => {
      this.#answer = '';
      this.#settle = resolve;
      if (this.#socket.destroyed) this.#end('connection: closed');
      else this.#socket.write(request);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #end(answer: string): void {
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(answer);
  }
}

function isWhole(answer: string): boolean {
  const head = answer.indexOf(HEAD_END);
  if (head < 0) return false;
  const length = /\r\ncontent-length: *(\d+)/i.exec(answer.slice(0, head))?.[1];
  return length === undefined ? answer.endsWith(LAST_CHUNK) : answer.length >= head + HEAD_END.length + Number(length);
}
