/**
 * Physical quantities as branded numbers, so that watts cannot be passed where joules are expected.
 *
 * Wire, database, configuration and logs carry plain numbers whose *name* says the unit (`energyJ`);
 * code carries these types. Brands are made by the factories below, nowhere else.
 */
export declare const unit: unique symbol;
export type Quantity<U extends string> = number & { readonly [unit]: U };

export type Joules = Quantity<'J'>;
export type Watts = Quantity<'W'>;
export type Milliseconds = Quantity<'ms'>;
/** An instant: milliseconds since the Unix epoch. */
export type UnixMs = Quantity<'unix-ms'>;
export type Bytes = Quantity<'bytes'>;
export type Tokens = Quantity<'tokens'>;
export type Celsius = Quantity<'celsius'>;

function finite<U extends string>(value: number, name: string): Quantity<U> {
  if (!Number.isFinite(value)) throw new RangeError(`${name} must be a finite number, got ${value}`);
  return value as Quantity<U>;
}

function atLeastZero<U extends string>(value: number, name: string): Quantity<U> {
  if (!(value >= 0) || value === Infinity) throw new RangeError(`${name} must be 0 or more, got ${value}`);
  return value as Quantity<U>;
}

export const joules = (value: number): Joules => finite<'J'>(value, 'joules');
export const watts = (value: number): Watts => finite<'W'>(value, 'watts');
export const milliseconds = (value: number): Milliseconds => finite<'ms'>(value, 'milliseconds');
export const unixMs = (value: number): UnixMs => finite<'unix-ms'>(value, 'instant');
export const bytes = (value: number): Bytes => atLeastZero<'bytes'>(value, 'bytes');
export const tokens = (value: number): Tokens => atLeastZero<'tokens'>(value, 'tokens');
export const celsius = (value: number): Celsius => finite<'celsius'>(value, 'celsius');

/** E = P * t. */
export function energy(power: Watts, duration: Milliseconds): Joules {
  return joules((power * duration) / 1000);
}

/** Sum of quantities of one unit; 0 for none. */
export function sum<Q extends Quantity<string>>(values: Iterable<Q>): Q {
  let total = 0;
  for (const value of values) total += value;
  return total as Q;
}

/** The instant `duration` after `start`. */
export function after(start: UnixMs, duration: Milliseconds): UnixMs {
  return unixMs(start + duration);
}

/** Time from `start` to `end`; negative when `end` is earlier. */
export function elapsed(start: UnixMs, end: UnixMs): Milliseconds {
  return milliseconds(end - start);
}
