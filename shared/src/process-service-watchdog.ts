import { execFile } from 'node:child_process';

import type { Clock } from './clock.js';
import type { Logger } from './logger.js';
import { milliseconds } from './units/quantity.js';

const DEADLINE_MS = 5000;

/**
 * Tells systemd (NOTIFY_SOCKET and WATCHDOG_USEC of `environment`, sd_watchdog_enabled(3)) twice a watchdog time that this
 * process still turns; does nothing where nobody watches. By the command `systemd-notify`, since Node opens no datagram
 * sockets of the file system: the unit needs NotifyAccess=all.
 */
export function startServiceWatchdog(
  environment: Readonly<Record<string, string | undefined>>,
  clock: Clock,
  log: Logger,
): () => void {
  const { NOTIFY_SOCKET, WATCHDOG_USEC } = environment;
  const everyMs = Number(WATCHDOG_USEC) / 2000;
  if (NOTIFY_SOCKET === undefined || !(everyMs > 0)) return () => {};
  const tell = (): void => {
    const options = { env: { PATH: '/usr/bin:/bin', NOTIFY_SOCKET }, timeout: DEADLINE_MS };
    execFile('systemd-notify', ['WATCHDOG=1'], options, (error) => {
      if (error !== null) log.warn('watchdog.unheard', { reason: error.message });
    });
  };
  tell();
  return clock.every(milliseconds(everyMs), tell);
}
