import type { BatchFault, BatchRecord } from './batch.js';
import { isFault, readLine } from './batch-line.js';
import type { SqliteBatchStore } from './sqlite-batch-store.js';

/** Lines looked at in one go: what is in between is the turn of others. */
const LINES_AT_ONCE = 100;
const MOST_FAULTS = 20;

/** What keeps a batch from being begun: lines that are none of its endpoint, or ids that come twice. At most 20. */
export async function faultsOf(
  { inputFileId, endpoint }: Pick<BatchRecord, 'inputFileId' | 'endpoint'>,
  store: Pick<SqliteBatchStore, 'lines'>,
): Promise<readonly BatchFault[]> {
  const faults: BatchFault[] = [];
  const ids = new Set<string>();
  for (let at = 0; faults.length < MOST_FAULTS;) {
    const lines = await store.lines(inputFileId, at, LINES_AT_ONCE);
    for (const { line, text } of lines) {
      const read = readLine(text, line, endpoint);
      if (isFault(read)) faults.push(read);
      else if (ids.has(read.customId)) {
        faults.push({ code: 'duplicate_custom_id', message: 'expected an id of its own', line, param: 'custom_id' });
      } else ids.add(read.customId);
    }
    const last = lines.at(-1);
    if (last === undefined) break;
    at = last.line;
  }
  return faults.slice(0, MOST_FAULTS);
}
