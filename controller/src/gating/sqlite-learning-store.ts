import type { RequestId } from '@fleetgate/shared/ids';
import { EntitySchema, In } from 'typeorm';

import type { Database, DatabaseSchema } from '../platform/database.js';
import { MOST_UPSERTED, upsertRows } from '../platform/sqlite-upsert.js';
import { type Evidence, evidenceSchema, SOURCE_WINDOW } from './evidence.js';
import {
  type AnswerContext,
  answerContextSchema,
  type LearningChanges,
  type LearningState,
  type LearningStore,
} from './learning-store.js';
import { LearningTables1764000008000 } from './learning-tables.migration.js';

interface EvidenceRow {
  id: string;
  atMs: number;
  source: string;
  document: string;
}
interface ContextRow {
  requestId: string;
  atMs: number;
  document: string;
}
interface StateRow {
  name: string;
  document: string;
}

const text = { type: 'text' } as const;
const key = { type: 'text', primary: true } as const;
const integer = { type: 'integer' } as const;

const evidenceEntity = new EntitySchema<EvidenceRow>({
  name: 'Evidence',
  tableName: 'evidence',
  columns: { id: key, atMs: integer, source: text, document: text },
});
const contextEntity = new EntitySchema<ContextRow>({
  name: 'AnswerContext',
  tableName: 'answer_context',
  columns: { requestId: key, atMs: integer, document: text },
});
const stateEntity = new EntitySchema<StateRow>({
  name: 'LearningState',
  tableName: 'learning_state',
  columns: { name: key, document: text },
});

export const learningSchema: DatabaseSchema = {
  entities: [evidenceEntity, contextEntity, stateEntity],
  migrations: [LearningTables1764000008000],
};

/** Answers that may still be rated: as many as the ledger keeps, 300 bytes each. */
export const KEPT_CONTEXTS = 20_000;

/** What is learned, in the control database. */
export class SqliteLearningStore implements LearningStore {
  readonly #database: Database;
  readonly #keptContexts: number;

  constructor(database: Database, keptContexts = KEPT_CONTEXTS) {
    this.#database = database;
    this.#keptContexts = keptContexts;
  }

  async loadEvidence(): Promise<{ readonly evidence: readonly Evidence[]; readonly unreadable: number }> {
    const rows = await this.#database.source.getRepository(evidenceEntity).find({ order: { atMs: 'ASC', id: 'ASC' } });
    const evidence = rows.flatMap((row) => {
      const parsed = evidenceSchema.safeParse(jsonOf(row.document));
      return parsed.success ? [parsed.data] : [];
    });
    return { evidence, unreadable: rows.length - evidence.length };
  }

  async loadState(name: LearningState): Promise<unknown> {
    const row = await this.#database.source.getRepository(stateEntity).findOneBy({ name });
    return row === null ? undefined : (jsonOf(row.document) ?? row.document);
  }

  async setAside(name: LearningState): Promise<void> {
    await this.#database.write(async (manager) => {
      const row = await manager.findOneBy(stateEntity, { name });
      if (row === null) return;
      await manager.upsert(stateEntity, { name: `${name}.invalid`, document: row.document }, ['name']);
      await manager.delete(stateEntity, { name });
    });
  }

  async contextOf(requestId: RequestId): Promise<AnswerContext | undefined> {
    const row = await this.#database.source.getRepository(contextEntity).findOneBy({ requestId });
    return row === null ? undefined : answerContextSchema.safeParse(jsonOf(row.document)).data;
  }

  async save({ evidence, dropped, contexts, states }: LearningChanges): Promise<void> {
    const evidenceRows = evidence.map((one) => [one.id, one.at, one.source, JSON.stringify(one)]);
    const contextRows = contexts.map((one) => [one.requestId, one.at, JSON.stringify(one)]);
    await this.#database.write(async (manager) => {
      await upsertRows(manager, 'evidence', ['id', 'atMs', 'source', 'document'], 'id', evidenceRows);
      for (const ids of batches(dropped)) await manager.delete(evidenceEntity, { id: In([...ids]) });
      await upsertRows(manager, 'answer_context', ['requestId', 'atMs', 'document'], 'requestId', contextRows);
      for (const [name, document] of Object.entries(states)) {
        await manager.upsert(stateEntity, { name, document: JSON.stringify(document) }, ['name']);
      }
      for (const source of new Set(evidence.map((one) => one.source))) {
        await manager.query(
          `DELETE FROM evidence WHERE source = ? AND id NOT IN
             (SELECT id FROM evidence WHERE source = ? ORDER BY atMs DESC, id DESC LIMIT ${2 * SOURCE_WINDOW})`,
          [source, source],
        );
      }
      if (contextRows.length === 0) return;
      await manager.query(
        `DELETE FROM answer_context WHERE atMs <
           (SELECT atMs FROM answer_context ORDER BY atMs DESC LIMIT 1 OFFSET ${this.#keptContexts})`,
      );
    });
  }
}

function jsonOf(document: string): unknown {
  try {
    return JSON.parse(document);
  } catch {
    return undefined;
  }
}

function* batches<T>(rows: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < rows.length; at += MOST_UPSERTED) yield rows.slice(at, at + MOST_UPSERTED);
}
