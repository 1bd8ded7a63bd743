/** Opens the control database: a file of its own, or a server that several controllers may share. */
import { accessSchema } from './access/sqlite-access-store.js';
import { expertSchemaOfDatabase } from './catalogue/sqlite-expert-store.js';
import { type ControllerConfig, databasePath, isPostgres } from './config/config.js';
import { batchSchema } from './dispatch/batches/sqlite-batch-store.js';
import { dispatchSchema } from './dispatch/sqlite-request-row.js';
import { sharedAnswersSchema } from './dispatch/sqlite-shared-answers.js';
import { enrolmentSchema } from './enrolment/sqlite-enrolment-store.js';
import { fleetSchema } from './fleet/sqlite-fleet-store.js';
import { learningSchema } from './gating/sqlite-learning-store.js';
import { identitySchemaOfDatabase } from './identity/sqlite-certificate-store.js';
import { planningSchema } from './planning/sqlite-plan-store.js';
import type { Database, DatabaseSchema } from './platform/database.js';
import { openPostgres, type PostgresDatabase } from './platform/postgres-database.js';
import { leaderSchema } from './platform/postgres-leadership.js';
import { openDatabase } from './platform/sqlite-database.js';
import { replicaSchema } from './platform/sqlite-replica-register.js';
import { secretSchema } from './platform/sqlite-shared-secret.js';
import { releaseSchema } from './rollout/sqlite-release-store.js';
import { rolloutSchema } from './rollout/sqlite-rollout-store.js';

/** All that the controller keeps. */
export const SCHEMAS: readonly DatabaseSchema[] = [
  fleetSchema,
  expertSchemaOfDatabase,
  dispatchSchema,
  planningSchema,
  learningSchema,
  batchSchema,
  accessSchema,
  identitySchemaOfDatabase,
  enrolmentSchema,
  rolloutSchema,
  releaseSchema,
  replicaSchema,
  sharedAnswersSchema,
  leaderSchema,
  secretSchema,
];

export interface ControlDatabase {
  readonly database: Database;
  /** The same, where it is a server. */
  readonly server: PostgresDatabase | undefined;
  /** Path or address. */
  readonly url: string;
}

/** Throws what `openDatabase` and `openPostgres` do. */
export async function openControlDatabase(config: ControllerConfig): Promise<ControlDatabase> {
  const { databaseUrl } = config;
  if (databaseUrl === undefined || !isPostgres(databaseUrl)) {
    const url = databasePath(config);
    return { database: await openDatabase(url, SCHEMAS), server: undefined, url };
  }
  const server = await openPostgres(databaseUrl, SCHEMAS);
  return { database: server, server, url: databaseUrl };
}
