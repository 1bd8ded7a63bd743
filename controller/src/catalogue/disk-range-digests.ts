import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

/** Digests of the ranges of artefacts' files, each read once: an artefact's content is named by its digest and does not change. */
export class RangeDigests {
  readonly #rangeBytes: number;
  readonly #known = new Map<string, Promise<readonly string[]>>();

  constructor(rangeBytes: number) {
    this.#rangeBytes = rangeBytes;
  }

  /** SHA-256 of each range of the file at `path`, hexadecimal, in order. One reading serves all who ask meanwhile. */
  of(sha256: string, path: string): Promise<readonly string[]> {
    const known = this.#known.get(sha256);
    if (known !== undefined) return known;
    const reading = rangeDigests(path, this.#rangeBytes);
    this.#known.set(sha256, reading);
    // A file that could not be read is tried again by who asks next.
    reading.catch(() => this.#known.delete(sha256));
    return reading;
  }
}

async function rangeDigests(path: string, rangeBytes: number): Promise<readonly string[]> {
  const digests: string[] = [];
  let hash = createHash('sha256');
  let left = rangeBytes;
  for await (const piece of createReadStream(path) as AsyncIterable<Buffer>) {
    for (let at = 0; at < piece.length;) {
      const part = piece.subarray(at, at + left);
      hash.update(part);
      at += part.length;
      left -= part.length;
      if (left > 0) continue;
      digests.push(hash.digest('hex'));
      hash = createHash('sha256');
      left = rangeBytes;
    }
  }
  if (left < rangeBytes) digests.push(hash.digest('hex'));
  return digests;
}
