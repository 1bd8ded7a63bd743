import { fileURLToPath } from 'node:url';

import { defineConfig, mergeConfig } from 'vitest/config';

import suite from './vitest.config.ts';

const IN_PLACE = fileURLToPath(new URL('support/postgres-in-place.ts', import.meta.url));

/** The tests of the stores on a real PostgreSQL: where they open a SQLite file, a database of a server takes its place. */
export default mergeConfig(
  suite,
  defineConfig({
    plugins: [
      {
        name: 'postgres-in-place',
        enforce: 'pre',
        resolveId: (source, importer) =>
          source.endsWith('platform/sqlite-database.js') ||
          (source === './sqlite-database.js' && importer?.includes('.test.'))
            ? IN_PLACE
            : undefined,
      },
    ],
    test: { globalSetup: ['test/support/postgres-server.ts'] },
  }),
);
