import { FleetError } from '@fleetgate/shared/errors';

/** A bound as a person writes it. */
export type Bound = number | 'none';

export function given(values: Readonly<Record<string, Bound | undefined>>): object {
  const named = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(named.map(([name, value]) => [name, value === 'none' ? null : value]));
}

/**
 * Whether a number makes sense as a bound is for the controller to say. `none` stays a word: commander takes a null for an
 * option without a value.
 */
export function bound(text: string): Bound {
  if (text === 'none') return text;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) {
    throw new FleetError('usage.invalid', `budget set: expected a number or none, got ${JSON.stringify(text)}`, {
      hint: 'see `fleetgate budget set --help`',
    });
  }
  return value;
}
