import type { BatchCounts, BatchRecord, BatchState, FileRecord } from './batch.js';

/** A file as OpenAI's API shows it; instants in Unix seconds. */
export function fileView({ id, bytes, createdAt, expiresAt, name, purpose }: FileRecord): object {
  return {
    id,
    object: 'file',
    bytes,
    created_at: seconds(createdAt),
    expires_at: seconds(expiresAt),
    filename: name,
    purpose,
    status: 'processed',
  };
}

/** A batch as OpenAI's API shows it. Files are named once they are there. */
export function batchView(record: BatchRecord, { succeeded, failed }: BatchCounts): object {
  const { id, endpoint, faults, inputFileId, outputFileId, errorFileId, window, state, metadata } = record;
  const ended = ['completed', 'expired', 'cancelled'].includes(state);
  const at = (of: BatchState): number | null => secondsOrNull(record.at[of]);
  return {
    id,
    object: 'batch',
    endpoint,
    errors: faults.length === 0 ? null : { object: 'list', data: faults },
    input_file_id: inputFileId,
    completion_window: window,
    status: state,
    output_file_id: ended && succeeded > 0 ? outputFileId : null,
    error_file_id: ended && failed > 0 ? errorFileId : null,
    created_at: seconds(record.createdAt),
    in_progress_at: at('in_progress'),
    expires_at: seconds(record.expiresAt),
    finalizing_at: at('finalizing'),
    completed_at: at('completed'),
    failed_at: at('failed'),
    expired_at: at('expired'),
    cancelling_at: at('cancelling'),
    cancelled_at: at('cancelled'),
    request_counts: { total: record.lines, completed: succeeded, failed },
    metadata,
  };
}

/** A page of a list; `records` holds one more than `limit` where there are more. */
export function pageView<T extends { readonly id: string }>(
  records: readonly T[],
  limit: number,
  view: (record: T) => object,
): object {
  const page = records.slice(0, limit);
  return {
    object: 'list',
    data: page.map(view),
    first_id: page[0]?.id ?? null,
    last_id: page.at(-1)?.id ?? null,
    has_more: records.length > limit,
  };
}

function seconds(at: number): number {
  return Math.floor(at / 1000);
}

function secondsOrNull(at: number | undefined): number | null {
  return at === undefined ? null : seconds(at);
}
