import { FleetError } from '@fleetgate/shared/errors';
import type { Random } from '@fleetgate/shared/random';
import { after, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';
import { z } from 'zod';

import { invalid } from '../openai/invalid-field.js';
import { read } from '../openai/schema.js';
import { BATCH_ENDPOINTS, type BatchRecord, type FileRecord, KEPT_FOR, MOST_FILE_BYTES, MOST_LINES } from './batch.js';

const LONGEST_WINDOW_MS = 24 * 3_600_000;
const WINDOW = /^([1-9]\d{0,3})(m|h)$/;
const MOST_NAME_CHARACTERS = 200;
const MOST_METADATA = 16;

const batchRequest = z.object({
  input_file_id: z.string('expected the id of a file').min(1).max(100),
  endpoint: z.enum(BATCH_ENDPOINTS, `expected one of ${BATCH_ENDPOINTS.join(', ')}`),
  completion_window: z.string('expected a time such as 24h or 30m'),
  metadata: z
    .record(z.string().max(64), z.string('expected text').max(512))
    .refine((fields) => Object.keys(fields).length <= MOST_METADATA, `expected at most ${MOST_METADATA} fields`)
    .nullish(),
});

const pageRequest = z.object({
  limit: z.coerce.number().int().min(1, 'expected 1 to 100').max(100, 'expected 1 to 100').default(20),
  after: z.string().max(100).optional(),
});

/** What a client sends to POST /v1/files. */
export interface Upload {
  readonly purpose: string | undefined;
  readonly name: string;
  readonly content: Uint8Array;
}

/** Ids sort by time as long as the clock does not go back. */
export function newId(kind: 'file-' | 'batch_', now: UnixMs, random: Random): string {
  return `${kind}${Math.floor(now).toString(36).padStart(9, '0')}${random.token(15)}`;
}

/** The file of an upload and its lines, blank ones left out. Throws `request.invalid` or `request.too-large`. */
export function readFile(
  { purpose, name, content }: Upload,
  now: UnixMs,
  random: Random,
): { readonly file: FileRecord; readonly lines: readonly string[] } {
  if (purpose !== 'batch') throw invalid('purpose', 'expected batch');
  if (content.length > MOST_FILE_BYTES) throw tooLarge(`${content.length} bytes, expected at most ${MOST_FILE_BYTES}`);
  const lines = textOf(content)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (lines.length === 0) throw invalid('file', 'expected lines of JSON');
  if (lines.length > MOST_LINES) throw tooLarge(`${lines.length} lines, expected at most ${MOST_LINES}`);
  const file: FileRecord = {
    id: newId('file-', now, random),
    purpose,
    name: name.slice(0, MOST_NAME_CHARACTERS),
    bytes: content.length,
    lines: lines.length,
    createdAt: now,
    expiresAt: after(now, KEPT_FOR),
  };
  return { file, lines };
}

/** Body of POST /v1/batches. Throws `request.invalid`. */
export function readBatch(body: unknown): z.infer<typeof batchRequest> {
  return read(batchRequest, body);
}

/** The record of a batch that has just come. Throws `request.invalid` for a window that is none. */
export function newBatch(
  { endpoint, completion_window: window, metadata }: z.infer<typeof batchRequest>,
  file: FileRecord,
  now: UnixMs,
  random: Random,
): BatchRecord {
  const [, count, unit] = WINDOW.exec(window) ?? [];
  const duration = Number(count) * (unit === 'h' ? 3_600_000 : 60_000);
  if (!(duration <= LONGEST_WINDOW_MS)) throw invalid('completion_window', 'expected 1m to 24h');
  return {
    id: newId('batch_', now, random),
    endpoint,
    inputFileId: file.id,
    outputFileId: newId('file-', now, random),
    errorFileId: newId('file-', now, random),
    window,
    createdAt: now,
    expiresAt: after(now, milliseconds(duration)),
    state: 'validating',
    at: {},
    lines: file.lines,
    faults: [],
    metadata: metadata ?? null,
  };
}

/** Query of a list. Throws `request.invalid`. */
export function readPage(query: unknown): { readonly limit: number; readonly after?: string | undefined } {
  return read(pageRequest, query);
}

function textOf(content: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch (cause) {
    throw new FleetError('request.invalid', 'file: expected text in UTF-8', { context: { param: 'file' }, cause });
  }
}

function tooLarge(what: string): FleetError {
  return new FleetError('request.too-large', `the file has ${what}`, {
    hint: 'send several files, and a batch of each',
    context: { param: 'file' },
  });
}
