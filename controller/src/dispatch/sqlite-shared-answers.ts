import { createHash, randomUUID } from 'node:crypto';

import type { UnixMs } from '@fleetgate/shared/units/quantity';
import { EntitySchema, In, IsNull, LessThanOrEqual, Not } from 'typeorm';

import type { Database, DatabaseSchema } from '../platform/database.js';
import type { Claim, SharedAnswers } from './shared-answers.js';
import { SharedAnswers1764500002000 } from './shared-answers.migration.js';

interface AnswerRow {
  keySha256: string;
  digest: string;
  owner: string;
  /** Tells two claims of one controller apart. */
  claim: string;
  /** Null while it is under way. */
  answer: string | null;
  untilMs: number | null;
}

const answerEntity = new EntitySchema<AnswerRow>({
  name: 'SharedAnswer',
  tableName: 'shared_answer',
  columns: {
    keySha256: { type: 'text', primary: true },
    digest: { type: 'text' },
    owner: { type: 'text' },
    claim: { type: 'text' },
    answer: { type: 'text', nullable: true },
    untilMs: { type: 'bigint', nullable: true },
  },
});

export const sharedAnswersSchema: DatabaseSchema = {
  entities: [answerEntity],
  migrations: [SharedAnswers1764500002000],
};

/** Keys and answers in the control database. Of a key, its digest is kept. */
export class SqliteSharedAnswers implements SharedAnswers {
  readonly #database: Database;
  readonly #owner: () => string;

  constructor(database: Database, owner: () => string) {
    this.#database = database;
    this.#owner = owner;
  }

  claim(key: string, digest: string, now: UnixMs): Promise<Claim> {
    const keySha256 = digestOf(key);
    const mine = { keySha256, digest, owner: this.#owner(), claim: randomUUID(), answer: null, untilMs: null };
    return this.#database.write(async (manager): Promise<Claim> => {
      await manager.delete(answerEntity, { keySha256, untilMs: LessThanOrEqual(now) });
      await manager.createQueryBuilder().insert().into(answerEntity).values(mine).orIgnore().execute();
      const row = await manager.findOneBy(answerEntity, { keySha256 });
      // Given up by another between the two statements: it is asked again.
      if (row === null) return { kind: 'under-way' };
      if (row.claim === mine.claim) return { kind: 'ours' };
      if (row.digest !== digest) return { kind: 'reused' };
      return row.answer === null ? { kind: 'under-way' } : { kind: 'answered', answer: row.answer };
    });
  }

  async keep(key: string, answer: string, until: UnixMs): Promise<void> {
    const own = { keySha256: digestOf(key), owner: this.#owner(), answer: IsNull() };
    await this.#database.write((manager) => manager.update(answerEntity, own, { answer, untilMs: until }));
  }

  async release(key: string): Promise<void> {
    const own = { keySha256: digestOf(key), owner: this.#owner(), answer: IsNull() };
    await this.#database.write((manager) => manager.delete(answerEntity, own));
  }
}

/** Makes the keys new again that controllers which are none of `owners` have left without an answer, and forgets old answers. */
export async function releaseOrphans(owners: readonly string[], now: UnixMs, write: Database['write']): Promise<void> {
  await write(async (manager) => {
    await manager.delete(answerEntity, { answer: IsNull(), owner: Not(In([...owners])) });
    await manager.delete(answerEntity, { untilMs: LessThanOrEqual(now) });
  });
}

function digestOf(key: string): string {
  return createHash('sha256').update(key).digest('base64url');
}
