import { rm, rename, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import { readGguf } from '@fleetgate/shared/gguf/disk-gguf';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';
import { processEntry } from '@fleetgate/shared/process-entry';

import type { QuantiseRequest } from '../native/llama-quantise.js';
import { runErrand } from './process-errand.js';
import { rulesFor } from './quantise-rules.js';

export interface QuantiseFile {
  readonly input: string;
  readonly output: string;
  /** Type number of every tensor that is to have another one than it has, or the same. */
  readonly typeByTensor: ReadonlyMap<string, number>;
  readonly threads: number;
  /** Bytes that the output will have, about: looked for on the disk before anything is written. */
  readonly expectedBytes: number;
}

/** `llama_model_quantize` writes offsets of another alignment than it lays the data out with. */
const ONLY_ALIGNMENT = 32;
/** Of one tensor at once; small enough for the smallest boards. */
const BUFFER_BYTES = 256 * 2 ** 20;
/** Metadata and padding. */
const SPARE_BYTES = 1 << 20;

/**
 * Quantises a GGUF file with llama.cpp's own `llama_model_quantize`, in a child process, and answers the header of what
 * was written.
 *
 * The output appears whole or not at all (`.part`, then renamed). Aborting kills the child and removes what it wrote.
 * Throws `gguf.unsupported` (an alignment other than 32; refused by llama.cpp; a tensor came out as another type),
 * `artefact.disk-full`, `engine.unavailable`, `engine.crashed`, `job.cancelled`.
 */
export async function quantiseFile(
  file: QuantiseFile,
  onTensor: (tensor: number, tensors: number) => void,
  signal: AbortSignal,
): Promise<GgufHeader> {
  const { alignment } = await readGguf(file.input);
  if (alignment !== ONLY_ALIGNMENT) throw wrongAlignment(file.input, alignment);
  await checkSpace(file.output, file.expectedBytes);
  const part = `${file.output}.part`;
  try {
    const request: QuantiseRequest = {
      input: file.input,
      output: part,
      rules: rulesFor(file.typeByTensor),
      threads: file.threads,
      bufferBytes: BUFFER_BYTES,
    };
    const program = processEntry(import.meta.url, '../native/llama-quantise-child.js');
    await runErrand<string>(program, request, `quantising ${file.input}`, onTensor, signal);
    const header = await readGguf(part);
    checkTypes(header, file);
    await rename(part, file.output);
    return header;
  } catch (error) {
    await rm(part, { force: true });
    if (await isFull(file.output)) throw diskFull(file.output, file.expectedBytes, error);
    throw error;
  }
}

function checkTypes(header: GgufHeader, { input, typeByTensor }: QuantiseFile): void {
  for (const { name, type } of header.tensors) {
    const wanted = typeByTensor.get(name);
    if (wanted !== undefined && wanted !== type.id) {
      throw new FleetError(
        'gguf.unsupported',
        `${input}: tensor ${name} became ${type.name}, expected type ${wanted}`,
        {
          hint: 'this llama.cpp does not give that tensor that type: leave it as it is',
        },
      );
    }
  }
}

async function checkSpace(path: string, expectedBytes: number): Promise<void> {
  const free = await freeBytes(path);
  if (free !== undefined && free < expectedBytes + SPARE_BYTES) throw diskFull(path, expectedBytes);
}

async function isFull(path: string): Promise<boolean> {
  const free = await freeBytes(path);
  return free !== undefined && free < SPARE_BYTES;
}

async function freeBytes(path: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(dirname(path));
    return bavail * bsize;
  } catch (cause) {
    throw new FleetError('artefact.unavailable', `${dirname(path)} cannot be written to: ${messageOf(cause)}`, {
      cause,
      hint: 'give --out a file in a folder that exists',
    });
  }
}

function diskFull(path: string, bytes: number, cause?: unknown): FleetError {
  return new FleetError('artefact.disk-full', `${path}: needs ${bytes} bytes, more than the disk has free`, {
    cause,
    hint: 'free some space, or write to another disk',
  });
}

function wrongAlignment(path: string, alignment: number): FleetError {
  return new FleetError(
    'gguf.unsupported',
    `${path}: its tensors are aligned to ${alignment} bytes, llama.cpp quantises only files aligned to ${ONLY_ALIGNMENT}`,
    { hint: 'rewrite it with alignment 32 first; `fleetgate gguf quantise` does' },
  );
}
