import { openPostgresTelemetryStore } from './postgres-telemetry-store.js';
import type { SqliteTelemetryOptions } from './sqlite-telemetry-file.js';
import { openSqliteTelemetryStore } from './sqlite-telemetry-store.js';
import type { TelemetryStore } from './telemetry-store.js';

/** Where telemetry rests: at a PostgreSQL server, or else in a file of this controller. */
export interface TelemetryPlace {
  readonly path: string;
  /** Its address. */
  readonly server?: string;
}

/** As `openSqliteTelemetryStore` and `openPostgresTelemetryStore`. */
export function openTelemetryStore(
  { path, server }: TelemetryPlace,
  mode: 'write' | 'read',
  options: SqliteTelemetryOptions = {},
): Promise<TelemetryStore> {
  return server === undefined ? openSqliteTelemetryStore(path, mode, options) : openPostgresTelemetryStore(server);
}
