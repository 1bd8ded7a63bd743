import { type FileHandle, open, rename, rm } from 'node:fs/promises';

import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { GgufHeader } from '@fleetgate/shared/gguf/header';

import {
  type AssembledTensor,
  encodeHeader,
  type MetadataValue,
  padding,
  type Piece,
  rawEntrySpans,
  tensorBytes,
} from './assembly.js';

export interface Assembly {
  /** File that the metadata is taken of, and its header. */
  readonly base: { readonly path: string; readonly header: GgufHeader };
  /** Values in place of the base's; undefined: none. */
  readonly changes: ReadonlyMap<string, MetadataValue | undefined>;
  readonly tensors: readonly AssembledTensor[];
  readonly alignment: number;
  readonly output: string;
}

const BUFFER_BYTES = 4 * 2 ** 20;

/**
 * Writes the file, streaming; it appears whole or not at all (`.part`, then renamed). Throws `artefact.disk-full`,
 * `artefact.unavailable` (a source cannot be read, the output not be written), `job.cancelled`.
 */
export async function writeAssembly(assembly: Assembly, signal: AbortSignal): Promise<void> {
  const part = `${assembly.output}.part`;
  const sources = new Map<string, FileHandle>();
  let target: FileHandle | undefined;
  try {
    target = await open(part, 'w');
    await writeAll(target, await headerOf(assembly, sources));
    const buffer = Buffer.allocUnsafe(BUFFER_BYTES);
    for (const tensor of assembly.tensors) {
      for (const piece of tensor.pieces) await copy(await opened(piece.path, sources), target, piece, buffer, signal);
      await writeAll(target, Buffer.alloc(padding(tensorBytes(tensor), assembly.alignment)));
    }
    await target.sync();
    await target.close();
    target = undefined;
    await rename(part, assembly.output);
  } catch (error) {
    await target?.close();
    await rm(part, { force: true });
    throw failure(error, assembly.output, signal);
  } finally {
    for (const file of sources.values()) await file.close();
  }
}

async function headerOf({ base, changes, tensors, alignment }: Assembly, sources: Map<string, FileHandle>) {
  const file = await opened(base.path, sources);
  const entries = [];
  for (const { key, start, end } of rawEntrySpans(base.header)) {
    const bytes = Buffer.allocUnsafe(end - start);
    await readAll(file, bytes, start, base.path);
    entries.push({ key, bytes });
  }
  return encodeHeader(entries, changes, tensors, alignment);
}

async function opened(path: string, sources: Map<string, FileHandle>): Promise<FileHandle> {
  const present = sources.get(path);
  if (present !== undefined) return present;
  const file = await open(path, 'r');
  sources.set(path, file);
  return file;
}

async function copy(source: FileHandle, target: FileHandle, piece: Piece, buffer: Buffer, signal: AbortSignal) {
  const end = piece.offset + piece.byteLength;
  for (let at = piece.offset; at < end;) {
    signal.throwIfAborted();
    const chunk = buffer.subarray(0, Math.min(buffer.length, end - at));
    await readAll(source, chunk, at, piece.path);
    await writeAll(target, chunk);
    at += chunk.length;
  }
}

async function readAll(file: FileHandle, bytes: Buffer, position: number, path: string): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, position + done);
    if (bytesRead === 0) throw new FleetError('gguf.malformed', `${path}: the file shrank while it was read`);
    done += bytesRead;
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done)).bytesWritten;
}

function failure(error: unknown, output: string, signal: AbortSignal): FleetError {
  if (error instanceof FleetError) return error;
  if (signal.aborted) return new FleetError('job.cancelled', `writing ${output} was cancelled`);
  const isFull = error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
  return isFull
    ? new FleetError('artefact.disk-full', `${output}: the disk is full`, { cause: error, hint: 'free some space' })
    : new FleetError('artefact.unavailable', `${output} cannot be written: ${messageOf(error)}`, { cause: error });
}
