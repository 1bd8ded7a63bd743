import { describe, expect, it } from 'vitest';

import { ManualClock } from './clock.js';
import { silentLogger } from './logger.js';
import { startServiceWatchdog } from './process-service-watchdog.js';

describe("systemd's watchdog", () => {
  it.each([{}, { NOTIFY_SOCKET: '/run/nobody' }, { NOTIFY_SOCKET: '/run/nobody', WATCHDOG_USEC: 'soon' }])(
    'is not told where nobody watches: %j',
    (environment) => {
      const log = { ...silentLogger, warn: () => expect.unreachable() };
      const clock = new ManualClock();
      clock.every = () => expect.unreachable();
      startServiceWatchdog(environment, clock, log)();
    },
  );

  it('is told twice in its time until the end, and what keeps it from hearing is said', async () => {
    const clock = new ManualClock();
    const said: string[] = [];
    const log = { ...silentLogger, warn: (event: string) => said.push(event) };
    // Nobody listens there, or the command is not installed: either way it fails.
    const stop = startServiceWatchdog({ NOTIFY_SOCKET: '/nowhere/at-all', WATCHDOG_USEC: '30000000' }, clock, log);
    await expect.poll(() => said).toEqual(['watchdog.unheard']);
    clock.advance(30_000);
    await expect.poll(() => said).toHaveLength(3);
    stop();
    clock.advance(60_000);
    expect(said).toHaveLength(3);
  });
});
