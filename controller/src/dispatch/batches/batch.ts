import type { Milliseconds, UnixMs } from '@fleetgate/shared/units/quantity';
import { milliseconds } from '@fleetgate/shared/units/quantity';

/** Where the lines of a batch may be sent. */
export const BATCH_ENDPOINTS = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings'] as const;
export type BatchEndpoint = (typeof BATCH_ENDPOINTS)[number];

/**
 * OpenAI's words. Left by: `validating` when every line was read, `in_progress` when every line is answered, the window
 * is over or a client cancels, `finalizing` and `cancelling` when the files are there.
 */
export type BatchState =
  'validating' | 'in_progress' | 'finalizing' | 'completed' | 'failed' | 'expired' | 'cancelling' | 'cancelled';

/** States that a batch does not leave. */
export const ENDED_STATES: ReadonlySet<BatchState> = new Set(['completed', 'failed', 'expired', 'cancelled']);

/** Why a batch was not begun; `line` counts from 1. */
export interface BatchFault {
  readonly code: string;
  readonly message: string;
  readonly line: number;
  readonly param: string | null;
}

export interface BatchRecord {
  readonly id: string;
  /** Of the key that it came with: who sees it, and whose limits count; undefined: everybody's. */
  readonly tenant?: string | undefined;
  readonly endpoint: BatchEndpoint;
  readonly inputFileId: string;
  /** The files that its lines are answered into; they are there once it has ended and has such lines. */
  readonly outputFileId: string;
  readonly errorFileId: string;
  readonly window: string;
  readonly createdAt: UnixMs;
  readonly expiresAt: UnixMs;
  readonly state: BatchState;
  /** When it came into the states that it was in. */
  readonly at: Readonly<Partial<Record<BatchState, UnixMs>>>;
  readonly lines: number;
  readonly faults: readonly BatchFault[];
  readonly metadata: Readonly<Record<string, string>> | null;
}

/** A file of lines, as the client sent it or as a batch has answered it. */
export interface FileRecord {
  readonly id: string;
  /** As of a batch. */
  readonly tenant?: string | undefined;
  readonly purpose: 'batch' | 'batch_output';
  readonly name: string;
  readonly bytes: number;
  readonly lines: number;
  readonly createdAt: UnixMs;
  readonly expiresAt: UnixMs;
}

export interface BatchCounts {
  readonly succeeded: number;
  readonly failed: number;
}

export function inState(record: BatchRecord, state: BatchState, at: UnixMs): BatchRecord {
  return { ...record, state, at: { ...record.at, [state]: at } };
}

/** Files and batches are removed so long after they came, with all that they hold. */
export const KEPT_FOR: Milliseconds = milliseconds(7 * 24 * 3_600_000);
export const MOST_FILE_BYTES = 16 * 2 ** 20;
export const MOST_LINES = 10_000;
/** Files of all clients together, bytes. */
export const MOST_STORED_BYTES = 256 * 2 ** 20;
/** Batches that have not ended. */
export const MOST_OPEN = 16;
