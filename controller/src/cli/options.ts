import { InvalidArgumentError } from 'commander';

/** A TCP port, 0 to 65535. */
export function portOption(value: string): number {
  return wholeNumber(value, 0, 65_535);
}

/** A whole number from 0 to 10,000. */
export function countOption(value: string): number {
  return wholeNumber(value, 0, 10_000);
}

/** How many of a list, 1 to 1000. */
export function limitOption(value: string): number {
  return wholeNumber(value, 1, 1000);
}

/** A whole number from 1 on. */
export function numberOption(value: string): number {
  return wholeNumber(value, 1, Number.MAX_SAFE_INTEGER);
}

function wholeNumber(value: string, least: number, most: number): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < least || number > most)
    throw new InvalidArgumentError(`expected a whole number from ${least} to ${most}, got ${value}.`);
  return number;
}
