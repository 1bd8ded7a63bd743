import type { z } from 'zod';

import { type ErrorCode, FleetError, type FleetErrorOptions } from './errors.js';

/**
 * Parses `value` by `schema`, or throws a FleetError that lists every fault as `path: what`.
 *
 * `where` names the file, field or message that was read, as its sender would know it.
 */
export function check<T>(
  schema: z.ZodType<T>,
  value: unknown,
  code: ErrorCode,
  where: string,
  options: FleetErrorOptions = {},
): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new FleetError(code, `${where}: ${faultsOf(result.error)}`, options);
}

/** All faults of a failed parse on one line, at most eight of them. */
export function faultsOf(error: z.ZodError): string {
  const faults = error.issues.map((issue) => `${issue.path.join('.') || '(top)'}: ${issue.message}`);
  const more = faults.length > 8 ? `; and ${faults.length - 8} more` : '';
  return faults.slice(0, 8).join('; ') + more;
}
