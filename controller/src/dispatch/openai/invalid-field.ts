import { FleetError } from '@fleetgate/shared/errors';

/** What is wrong with a field of a request; null: with its body. */
export function invalid(param: string | null, what: string): FleetError {
  return new FleetError('request.invalid', `${param ?? 'the body'}: ${what}`, { context: { param } });
}
