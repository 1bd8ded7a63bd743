import { type FileHandle, open, readFile, rename, rm } from 'node:fs/promises';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import { SeededRandom } from '@fleetgate/shared/random';

import { encodeHeader, type MetadataValue, padding, rawEntrySpans } from './assembly.js';
import {
  embeddings,
  randomBlocks,
  router,
  syntheticNumbers,
  type SyntheticShape,
  type SyntheticTensor,
  syntheticTensors,
} from './synthetic-moe.js';

export interface SyntheticFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly shape: SyntheticShape;
}

/** A page, so that every tensor begins with one. */
const ALIGNMENT = 4096;
/** Random weights are cut out of this many blocks, at another place each time. */
const POOL_BLOCKS = 2 ** 18;
const PIECE_BLOCKS = 2 ** 14;
const BLOCK_BYTES = 34;

/**
 * Writes a synthetic mixture with the vocabulary of another one (`borrowed`), whose architecture it takes too. The same
 * seed gives the same file. Throws `usage.invalid`, `artefact.unavailable`, `artefact.disk-full`, `job.cancelled`.
 */
export async function writeSyntheticMoe(
  path: string,
  borrowed: string,
  wanted: Omit<SyntheticShape, 'vocabulary'>,
  seed: number,
  signal: AbortSignal,
): Promise<SyntheticFile> {
  const header = await readGguf(borrowed);
  const architecture = header.metadata.get('general.architecture')?.value;
  const vocabulary = header.metadata.get('tokenizer.ggml.tokens')?.value;
  if (typeof vocabulary !== 'object' || typeof architecture !== 'string') {
    throw new FleetError('gguf.unsupported', `${borrowed}: no vocabulary to borrow`);
  }
  const shape = { ...wanted, vocabulary: vocabulary.length };
  const tensors = syntheticTensors(shape);
  const changes = new Map<string, MetadataValue>([['general.name', `synthetic ${architecture}`]]);
  for (const [key, value] of Object.entries(syntheticNumbers(shape))) {
    changes.set(`${architecture}.${key}`, { uint32: value });
  }
  const bytes = await readFile(borrowed);
  const entries = rawEntrySpans(header).map(({ key, start, end }) => ({ key, bytes: bytes.subarray(start, end) }));
  const assembled = tensors.map(({ name, dimensions, type, byteLength }) => ({
    name,
    dimensions,
    type,
    pieces: [{ path, offset: 0, byteLength }],
  }));
  const part = `${path}.part`;
  try {
    const file = await open(part, 'w');
    try {
      const head = encodeHeader(entries, changes, assembled, ALIGNMENT);
      await file.write(head);
      const filler = new Filler(shape, seed);
      for (const tensor of tensors) {
        signal.throwIfAborted();
        await filler.write(file, tensor);
      }
      const { size } = await file.stat();
      await file.close();
      await rename(part, path);
      return { path, sizeBytes: size, shape };
    } finally {
      await file.close().catch(() => undefined);
    }
  } catch (cause) {
    await rm(part, { force: true });
    if (signal.aborted || cause instanceof FleetError) throw signal.reason ?? cause;
    const isFull = (cause as NodeJS.ErrnoException).code === 'ENOSPC';
    throw new FleetError(
      isFull ? 'artefact.disk-full' : 'artefact.unavailable',
      `${path} cannot be written: ${messageOf(cause)}`,
      { cause },
    );
  }
}

/** Writes tensors one after the other at the end of a file. */
class Filler {
  readonly #shape: SyntheticShape;
  readonly #random: SeededRandom;
  readonly #pools = new Map<number, Uint8Array>();

  constructor(shape: SyntheticShape, seed: number) {
    this.#shape = shape;
    this.#random = new SeededRandom(seed);
  }

  async write(file: FileHandle, { filling, byteLength }: SyntheticTensor): Promise<void> {
    switch (filling.kind) {
      case 'ones':
        await file.write(bytesOf(new Float32Array(byteLength / 4).fill(1)));
        break;
      case 'embeddings':
        await file.write(bytesOf(embeddings(this.#shape, this.#random)));
        break;
      case 'router':
        await file.write(bytesOf(router(this.#shape, this.#random)));
        break;
      case 'random':
        await this.#writeRandom(file, byteLength, filling.deviation);
    }
    await file.write(new Uint8Array(padding(byteLength, ALIGNMENT)));
  }

  async #writeRandom(file: FileHandle, byteLength: number, deviation: number): Promise<void> {
    const pool = this.#pools.get(deviation) ?? randomBlocks(POOL_BLOCKS, deviation, this.#random);
    this.#pools.set(deviation, pool);
    for (let left = byteLength; left > 0;) {
      const length = Math.min(left, PIECE_BLOCKS * BLOCK_BYTES);
      const from = Math.floor(this.#random.uniform() * (POOL_BLOCKS - PIECE_BLOCKS)) * BLOCK_BYTES;
      await file.write(pool, from, length);
      left -= length;
    }
  }
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer);
}
