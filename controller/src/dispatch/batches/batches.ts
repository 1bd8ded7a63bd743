import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { Random } from '@fleetgate/shared/random';

import { type BatchRecord, ENDED_STATES, type FileRecord } from './batch.js';
import { newBatch, readBatch, readFile, readPage, type Upload } from './batch-requests.js';
import type { BatchRunner } from './batch-runner.js';
import { batchView, fileView, pageView } from './batch-views.js';
import type { SqliteBatchStore, Viewer } from './sqlite-batch-store.js';

export interface BatchesParts {
  readonly store: SqliteBatchStore;
  readonly runner: BatchRunner;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * What clients do with files and batches, each with those of its tenant; answers in OpenAI's shapes. Throws
 * `request.not-found` for ids of nothing, or of somebody else.
 */
export class Batches {
  readonly #parts: BatchesParts;

  constructor(parts: BatchesParts) {
    this.#parts = parts;
  }

  async addFile(upload: Upload, { tenant }: Viewer): Promise<object> {
    const { clock, random, store } = this.#parts;
    const { file: read, lines } = readFile(upload, clock.now(), random);
    const file: FileRecord = { ...read, tenant };
    await store.addFile(file, lines);
    return fileView(file);
  }

  async file(id: string, viewer: Viewer): Promise<object> {
    return fileView(await this.#file(id, viewer));
  }

  async files(query: unknown, viewer: Viewer): Promise<object> {
    const { limit, after } = readPage(query);
    return pageView(await this.#parts.store.files(limit + 1, viewer, after), limit, fileView);
  }

  async content(id: string, viewer: Viewer): Promise<string> {
    await this.#file(id, viewer);
    return this.#parts.store.content(id);
  }

  /** Throws `request.not-ended` for the input of a batch that has not ended. */
  async deleteFile(id: string, viewer: Viewer): Promise<object> {
    const { store } = this.#parts;
    await this.#file(id, viewer);
    const reader = (await store.open()).find(({ inputFileId }) => inputFileId === id);
    if (reader !== undefined) {
      throw new FleetError('request.not-ended', `${reader.id} has not ended and reads this file`, {
        hint: `cancel it first: POST /v1/batches/${reader.id}/cancel`,
      });
    }
    await store.deleteFile(id);
    return { id, object: 'file', deleted: true };
  }

  /** In the store when it resolves: from then on it is answered, whatever becomes of this process. */
  async addBatch(body: unknown, viewer: Viewer): Promise<object> {
    const { clock, random, runner, store } = this.#parts;
    const asked = readBatch(body);
    const file = await store.file(asked.input_file_id);
    if (file?.purpose !== 'batch' || !maySee(viewer, file)) {
      throw new FleetError('request.not-found', `there is no input file ${asked.input_file_id}`, {
        hint: 'send it with POST /v1/files, purpose batch',
        context: { param: 'input_file_id' },
      });
    }
    const record: BatchRecord = { ...newBatch(asked, file, clock.now(), random), tenant: viewer.tenant ?? file.tenant };
    await store.addBatch(record);
    runner.begin(record);
    return this.#view(record);
  }

  async batch(id: string, viewer: Viewer): Promise<object> {
    return this.#view(await this.#batch(id, viewer));
  }

  async batches(query: unknown, viewer: Viewer): Promise<object> {
    const { store } = this.#parts;
    const { limit, after } = readPage(query);
    const records = await store.batches(limit + 1, viewer, after);
    const counts = new Map<string, Awaited<ReturnType<SqliteBatchStore['counts']>>>();
    for (const { id } of records) counts.set(id, await store.counts(id));
    return pageView(records, limit, (one) => batchView(one, counts.get(one.id) ?? { succeeded: 0, failed: 0 }));
  }

  /** Throws `request.invalid` for a batch that has ended. */
  async cancel(id: string, viewer: Viewer): Promise<object> {
    const record = await this.#batch(id, viewer);
    if (ENDED_STATES.has(record.state)) {
      throw new FleetError('request.invalid', `${id} has ended: it is ${record.state}`, { context: { param: null } });
    }
    return this.#view(await this.#parts.runner.cancel(record));
  }

  async #view(record: BatchRecord): Promise<object> {
    return batchView(record, await this.#parts.store.counts(record.id));
  }

  async #file(id: string, viewer: Viewer): Promise<FileRecord> {
    const file = await this.#parts.store.file(id);
    if (file !== undefined && maySee(viewer, file)) return file;
    throw new FleetError('request.not-found', `there is no file ${id.slice(0, 80)}`, { hint: 'GET /v1/files' });
  }

  async #batch(id: string, viewer: Viewer): Promise<BatchRecord> {
    const record = await this.#parts.store.batch(id);
    if (record !== undefined && maySee(viewer, record)) return record;
    throw new FleetError('request.not-found', `there is no batch ${id.slice(0, 80)}`, { hint: 'GET /v1/batches' });
  }
}

function maySee(viewer: Viewer, { tenant }: Pick<FileRecord, 'tenant'>): boolean {
  return viewer.seesAll || viewer.tenant === tenant;
}
