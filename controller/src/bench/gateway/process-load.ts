import { FleetError } from '@fleetgate/shared/errors';
import { processEntry } from '@fleetgate/shared/process-entry';

import type { Load, LoadResult } from './http-load.js';
import { startChild } from './process-children.js';
import type { LoadReply } from './process-load-main.js';
import { isReady } from './process-targets.js';

export interface LoadProcess {
  /** One at a time. */
  run(load: Omit<Load, 'durationMs' | 'requests'> & Partial<Load>): Promise<LoadResult>;
  readonly stop: () => Promise<void>;
}

const UNBOUNDED = Number.MAX_SAFE_INTEGER;

/** A process that loads others. */
export async function startLoad(): Promise<LoadProcess> {
  const child = await startChild(processEntry(import.meta.url, './process-load-main.js'), [], isReady);
  return {
    run: async (load) => {
      const reply = await new Promise<LoadReply>((resolve, reject) => {
        const gone = (): void => reject(new FleetError('setup.missing', 'the process that makes the load ended'));
        child.process.once('exit', gone);
        child.process.once('message', (message) => {
          child.process.off('exit', gone);
          resolve(message as LoadReply);
        });
        child.process.send({ durationMs: UNBOUNDED, requests: UNBOUNDED, ...load } satisfies Load);
      });
      if ('error' in reply) throw new FleetError('setup.missing', `no load: ${reply.error}`);
      return reply;
    },
    stop: child.stop,
  };
}
