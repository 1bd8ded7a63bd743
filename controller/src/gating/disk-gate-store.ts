import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';

import { decodeGateModel, encodeGateModel, type GateModel } from './gate-model.js';

/** A gate file of this version is some MB; anything much larger is something else. */
const LARGEST_FILE_BYTES = 512 * 1024 * 1024;

/** Reads a gate file; throws `gate.invalid-model` when it is missing or not one. */
export async function readGateFile(path: string): Promise<GateModel> {
  let text: string;
  try {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      if (size > LARGEST_FILE_BYTES) throw tooLarge(path, size);
      text = await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (isFleetError(cause)) throw cause;
    throw new FleetError('gate.invalid-model', `${path}: cannot be read: ${messageOf(cause)}`, {
      hint: 'make one with: fleetgate gate train OUTCOMES.jsonl.gz --out GATE.json',
      cause,
    });
  }
  return decodeGateModel(text, path);
}

/** Writes a gate file whole or not at all: to a temporary file that is synced, then renamed into place. */
export async function writeGateFile(path: string, model: GateModel): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  await mkdir(dirname(path), { recursive: true });
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(encodeGateModel(model));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** The controller's own gate file. */
export class DiskGateStore {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * The stored gate, or undefined when there is none. One that cannot be used (damaged, or of another version) is moved
   * aside to `<path>.invalid`, `moved` is told why, and the answer is undefined: the caller trains again.
   */
  async load(moved: (error: FleetError) => void): Promise<GateModel | undefined> {
    try {
      return decodeGateModel(await readFile(this.#path, 'utf8'), this.#path);
    } catch (error) {
      if (isMissing(error)) return undefined;
      if (!isFleetError(error, 'gate.invalid-model')) throw error;
      await rename(this.#path, `${this.#path}.invalid`);
      moved(error);
      return undefined;
    }
  }

  save(model: GateModel): Promise<void> {
    return writeGateFile(this.#path, model);
  }
}

/** sha256 of a file; undefined when it is not there. */
export async function fileSha256(path: string): Promise<string | undefined> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
    return hash.digest('hex');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function tooLarge(path: string, size: number): FleetError {
  return new FleetError('gate.invalid-model', `${path}: ${size} bytes, expected at most ${LARGEST_FILE_BYTES}`, {
    hint: 'is this a gate file?',
  });
}
