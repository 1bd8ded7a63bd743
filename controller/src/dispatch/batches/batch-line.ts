import { messageOf } from '@fleetgate/shared/errors';
import { z } from 'zod';

import type { BatchEndpoint, BatchFault, BatchRecord } from './batch.js';

const lineSchema = z.object({
  custom_id: z.string('expected text').min(1, 'expected some text').max(512, 'expected at most 512 characters'),
  method: z.literal('POST', 'expected POST'),
  url: z.string('expected the endpoint of the batch'),
  body: z.record(z.string(), z.unknown(), 'expected the body of a request'),
});

export interface BatchLine {
  readonly customId: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** What a line was answered with; `body` is that of the endpoint, or its error. */
export interface LineAnswer {
  readonly status: number;
  readonly requestId: string | null;
  readonly body: object;
}

/** One line of an input file, or what is wrong with it. */
export function readLine(text: string, line: number, endpoint: BatchEndpoint): BatchLine | BatchFault {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { code: 'invalid_json_line', message: messageOf(error).slice(0, 200), line, param: null };
  }
  const result = lineSchema.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    const param = issue?.path.map(String).join('.') ?? '';
    return { code: 'invalid_line', message: issue?.message ?? 'not understood', line, param: param || null };
  }
  const { custom_id: customId, url, body } = result.data;
  if (url === endpoint) return { customId, body };
  return { code: 'mismatched_endpoint', message: `expected ${endpoint}, got ${url.slice(0, 100)}`, line, param: 'url' };
}

export function isFault(line: BatchLine | BatchFault): line is BatchFault {
  return 'code' in line;
}

/** A line of an output or error file. */
export function answeredLine(
  { id }: Pick<BatchRecord, 'id'>,
  line: number,
  customId: string,
  answer: LineAnswer,
): string {
  const { status, requestId, body } = answer;
  return JSON.stringify({
    id: `batch_req_${id.replace(/^batch_/, '')}_${line}`,
    custom_id: customId,
    response: { status_code: status, request_id: requestId, body },
    error: null,
  });
}

/** A line of an error file for what was never sent. */
export function unansweredLine(
  { id }: Pick<BatchRecord, 'id'>,
  line: number,
  customId: string,
  error: { readonly code: string; readonly message: string },
): string {
  return JSON.stringify({
    id: `batch_req_${id.replace(/^batch_/, '')}_${line}`,
    custom_id: customId,
    response: null,
    error,
  });
}
