import { type FileHandle, open, stat } from 'node:fs/promises';

import type { ModelFacts } from '../catalogue/expert.js';
import { FleetError, messageOf } from '../errors.js';
import { modelFacts } from './facts.js';
import { type GgufHeader, parseGgufHeader } from './header.js';

const FIRST_READ_BYTES = 1024 * 1024;

/**
 * Reads the header of a GGUF file, and no more than it needs of the file, and checks that the file is as long as its
 * tensors need. Throws `gguf.malformed` (also for a truncated file), `gguf.unsupported`, or `artefact.unavailable` when
 * the file cannot be read.
 */
export async function readGguf(path: string): Promise<GgufHeader> {
  const file = await opened(path);
  try {
    const fileBytes = (await file.stat()).size;
    const header = await readHeader(file, fileBytes, path);
    if (fileBytes < header.expectedFileBytes) {
      throw new FleetError(
        'gguf.malformed',
        `${path}: the file is cut off: its tensors need ${header.expectedFileBytes} bytes, it has ${fileBytes}`,
        { hint: 'fetch it again and compare its sha256' },
      );
    }
    return header;
  } finally {
    await file.close();
  }
}

/** `modelFacts` of a file; errors as `readGguf`. */
export async function readModelFacts(path: string): Promise<ModelFacts> {
  return modelFacts(await readGguf(path), path);
}

async function opened(path: string): Promise<FileHandle> {
  try {
    if (!(await stat(path)).isFile()) throw new Error('not a regular file');
    return await open(path, 'r');
  } catch (cause) {
    throw new FleetError('artefact.unavailable', `cannot open model file ${path}: ${messageOf(cause)}`, { cause });
  }
}

async function readHeader(file: FileHandle, fileBytes: number, path: string): Promise<GgufHeader> {
  let buffer = Buffer.alloc(0);
  for (let length = Math.min(FIRST_READ_BYTES, fileBytes); ;) {
    const grown = Buffer.allocUnsafe(length);
    buffer.copy(grown);
    let filled = buffer.length;
    while (filled < length) {
      const { bytesRead } = await file.read(grown, filled, length - filled, filled);
      if (bytesRead === 0) throw new FleetError('gguf.malformed', `${path}: the file shrank while it was read`);
      filled += bytesRead;
    }
    buffer = grown;
    const result = parseGgufHeader(buffer, fileBytes, path);
    if (!('need' in result)) return result;
    length = Math.min(fileBytes, Math.max(result.need, 2 * length));
  }
}
