import type { TestProject } from 'vitest/node';

import { hasPostgres, makePostgres, NO_POSTGRES } from './postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    readonly postgresUrl: string;
  }
}

/** One server for a whole run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  if (!hasPostgres) throw new Error(NO_POSTGRES);
  const server = await makePostgres();
  await server.start();
  project.provide('postgresUrl', server.url);
  return () => server.remove();
}
