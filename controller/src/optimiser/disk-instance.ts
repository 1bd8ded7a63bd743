import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { getHeapStatistics } from 'node:v8';
import { gunzip } from 'node:zlib';

import { FleetError, messageOf } from '@fleetgate/shared/errors';

/** A text of more could not be held as one string beside what is read from it. */
export const LARGEST_INSTANCE_BYTES = 400 * 2 ** 20;
/** Arcs take twice the memory of their text, the text itself and what is derived from them come on top. */
const HEAP_PER_BYTE = 4;
const SMALL_CHUNK_BYTES = 2 ** 20;
/** Where a socket is the standard input, /dev/stdin cannot be opened. */
const STDIN = '-';

/**
 * The document of an instance file (`-`: of the standard input), JSON or gzip of it (told by its first bytes), not yet
 * checked. Throws a FleetError `instance.invalid` that names the file: unreadable, no JSON, or before or after
 * decompression above 400 MiB or a quarter of the heap that Node may use.
 */
export async function readInstance(file: string): Promise<unknown> {
  const text = await inflated(file, await readBytes(file));
  try {
    // Editors on Windows put a byte order mark first.
    return JSON.parse(text.startsWith('\uFEFF') ? text.slice(1) : text) as unknown;
  } catch (error) {
    // The parser quotes what it found, and that may be anything.
    const reason = messageOf(error).replaceAll(/[\p{Cc}\uFFFD]+/gu, '?');
    throw new FleetError('instance.invalid', `${file}: expected JSON in UTF-8: ${reason}`, {
      hint: 'give a file of schema fleet-opt/1, whole, as JSON or gzip of it',
      cause: error,
    });
  }
}

function mostBytes(): number {
  return Math.min(LARGEST_INSTANCE_BYTES, Math.floor(getHeapStatistics().heap_size_limit / HEAP_PER_BYTE));
}

async function readBytes(file: string): Promise<Buffer> {
  try {
    if (file === STDIN) return await readStream(file, process.stdin);
    const info = await stat(file);
    if (info.size > mostBytes()) throw tooLarge(file, `${info.size} bytes`);
    return await (info.isFile() ? readFile(file) : readStream(file, createReadStream(file)));
  } catch (error) {
    if (error instanceof FleetError) throw error;
    throw new FleetError('instance.invalid', `${file}: cannot be read: ${messageOf(error)}`, {
      hint: 'give the path of an instance file, or - for what comes through a pipe',
      cause: error,
    });
  }
}

/** A pipe or a device says nothing of its size, and may have no end. */
async function readStream(file: string, stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > mostBytes()) throw tooLarge(file, 'more than can be read');
  }
  return Buffer.concat(chunks);
}

async function inflated(file: string, bytes: Buffer): Promise<string> {
  const most = mostBytes();
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) {
    if (bytes.length > most) throw tooLarge(file, `${bytes.length} bytes`);
    return bytes.toString('utf8');
  }
  // RFC 1952: the last four bytes give the size (of the last member), so that one buffer holds it all. A hint: where the
  // file was cut short they are anything.
  const claimed = bytes.length < 18 ? 0 : bytes.readUInt32LE(bytes.length - 4);
  const chunkSize = claimed > most ? SMALL_CHUNK_BYTES : Math.max(SMALL_CHUNK_BYTES, claimed + 1);
  try {
    return (await promisify(gunzip)(bytes, { maxOutputLength: most, chunkSize })).toString('utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(file, 'more when inflated');
    throw new FleetError('instance.invalid', `${file}: expected gzip: ${messageOf(error)}`, { cause: error });
  }
}

function tooLarge(file: string, what: string): FleetError {
  return new FleetError('instance.invalid', `${file}: ${what}, expected at most ${mostBytes()} bytes`, {
    hint: 'give identical devices as one entry with a count, or devices of one board by `like`',
  });
}
