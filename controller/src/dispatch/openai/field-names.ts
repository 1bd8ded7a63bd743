import { FleetError, isFleetError } from '@fleetgate/shared/errors';

/** What an API calls the fields that the rest of dispatch names in chat's words. */
export type FieldNames = Readonly<Record<string, string>>;

/** An error in the words of the API whose client is to read it. */
export function renamed(error: FleetError, names: FieldNames): FleetError {
  const { param } = error.context;
  const own = typeof param === 'string' && Object.hasOwn(names, param) ? names[param] : undefined;
  if (typeof param !== 'string' || own === undefined) return error;
  const message = error.message.startsWith(`${param}: `) ? own + error.message.slice(param.length) : error.message;
  const { code, hint, retryable, context, cause } = error;
  return new FleetError(code, message, {
    ...(hint === undefined ? {} : { hint }),
    retryable,
    context: { ...context, param: own },
    cause,
  });
}

/** What `read` gives; what it refuses is in the words of the API. */
export function inWords<T>(names: FieldNames, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw isFleetError(error) ? renamed(error, names) : error;
  }
}
