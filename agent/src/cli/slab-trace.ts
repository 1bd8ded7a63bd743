import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';

import { check } from '@fleetgate/shared/check';
import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';

import { type TraceDocument, type TraceHeader, traceDocumentSchema, traceHeaderSchema } from '../slabs/trace.js';

export interface Trace {
  readonly header: TraceHeader;
  readonly documents: readonly TraceDocument[];
}

/** Choices (token, layer and slab) of a trace: some hundred megabytes of memory. */
const MOST_CHOICES = 8_000_000;
/** Characters of a line: a document of 100,000 tokens in 4 layers of 2 slabs has 2 million. */
const MOST_LINE = 64 * 2 ** 20;

/** A trace that `gguf trace` wrote, gzipped or not. Throws `usage.invalid` for what is none, and what is too long. */
export async function readTrace(file: string): Promise<Trace> {
  const reading = new TraceReading(file);
  const source = createReadStream(file);
  const plain = file.endsWith('.gz') ? source.pipe(createGunzip()) : source;
  if (plain !== source) source.once('error', (cause) => plain.destroy(cause));
  try {
    await readLines(plain, file, (line) => reading.line(line));
  } catch (cause) {
    if (isFleetError(cause)) throw cause;
    throw new FleetError('usage.invalid', `${file} cannot be read as a trace: ${messageOf(cause)}`, {
      cause,
      hint: '`fleetgate gguf trace` writes one',
    });
  } finally {
    source.destroy();
  }
  return reading.result;
}

/** Lines of bounded length: what unpacks to one endless line is refused before it fills memory. */
async function readLines(source: AsyncIterable<Buffer>, file: string, onLine: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder('utf-8');
  let rest = '';
  for await (const bytes of source) {
    const lines = decoder.decode(bytes, { stream: true }).split('\n');
    lines[0] = rest + (lines[0] ?? '');
    rest = lines.pop() ?? '';
    if (rest.length > MOST_LINE) {
      throw new FleetError('usage.invalid', `${file}: a line of more than ${MOST_LINE} characters, expected a trace`);
    }
    for (const line of lines) onLine(line);
  }
  rest += decoder.decode();
  if (rest !== '') onLine(rest);
}

class TraceReading {
  readonly #file: string;
  readonly #documents: TraceDocument[] = [];
  #header: TraceHeader | undefined;
  #lines = 0;
  #choices = 0;

  constructor(file: string) {
    this.#file = file;
  }

  line(line: string): void {
    const where = `${this.#file}:${++this.#lines}`;
    const value: unknown = JSON.parse(line);
    if (this.#header === undefined) {
      this.#header = check(traceHeaderSchema, value, 'usage.invalid', where);
      return;
    }
    const document = check(traceDocumentSchema, value, 'usage.invalid', where);
    checkSlabs(document, this.#header, where);
    this.#choices += document.slabs.length * this.#header.model.layers.length * this.#header.model.slabsPerToken;
    if (this.#choices > MOST_CHOICES) {
      throw new FleetError('usage.invalid', `${where}: more than ${MOST_CHOICES} choices of slabs so far`, {
        hint: 'trace fewer documents: a tenth of that tells as much',
      });
    }
    this.#documents.push(document);
  }

  get result(): Trace {
    if (this.#header === undefined || this.#choices === 0) {
      throw new FleetError('usage.invalid', `${this.#file}: there is no trace in it`);
    }
    return { header: this.#header, documents: this.#documents };
  }
}

function checkSlabs({ slabs }: TraceDocument, { model }: TraceHeader, where: string): void {
  const { layers, slabsPerLayer, slabsPerToken } = model;
  for (const token of slabs) {
    const isWhole =
      token.length === layers.length &&
      token.every((chosen) => chosen.length <= slabsPerToken && chosen.every((slab) => slab < slabsPerLayer));
    if (!isWhole) {
      throw new FleetError(
        'usage.invalid',
        `${where}: a token does not have up to ${slabsPerToken} slabs below ${slabsPerLayer} of all layers`,
      );
    }
  }
}
