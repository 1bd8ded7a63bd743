import { defineConfig } from 'vitest/config';

import { ClosingLineReporter } from './support/closing-line-reporter.ts';

const root = new URL('..', import.meta.url).pathname;

export default defineConfig({
  root,
  oxc: { decorator: { legacy: true } },
  // Tests of pure code run from source; what they spawn (broker, engine, agent) runs from dist.
  resolve: { conditions: ['fleetgate-source', 'node'] },
  ssr: { resolve: { conditions: ['fleetgate-source', 'node'] } },
  test: {
    include: ['{shared,firmware-configs,controller,agent}/src/**/*.test.ts', 'test/**/*.test.ts'],
    setupFiles: ['test/support/property-seed.ts'],
    reporters: ['default', new ClosingLineReporter()],
    // sqlite3 aborts the process when a worker thread ends with a statement in flight.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
