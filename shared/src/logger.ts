import { pino } from 'pino';

export type LogFields = Readonly<Record<string, unknown>>;

/**
 * One event per line, JSON, on standard error. `event` is a stable name such as `plan.applied`; ids and quantities go
 * into `fields` with their unit in the name. Never prompt text, never secrets.
 */
export interface Logger {
  error(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  debug(event: string, fields?: LogFields): void;
}

export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'silent';

export function createLogger(name: string, level: LogLevel): Logger {
  const log = pino(
    { name, level, base: { pid: process.pid, name }, messageKey: 'event', timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: true }),
  );
  return {
    error: (event, fields = {}) => log.error(fields, event),
    warn: (event, fields = {}) => log.warn(fields, event),
    info: (event, fields = {}) => log.info(fields, event),
    debug: (event, fields = {}) => log.debug(fields, event),
  };
}

/** Says nothing; for tests and for commands that print only their answer. */
export const silentLogger: Logger = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
