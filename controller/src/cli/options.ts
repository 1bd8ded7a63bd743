import { InvalidArgumentError } from 'commander';

/** A TCP port, 0 to 65535. */
export function portOption(value: string): number {
  return wholeNumber(value, 0, 65_535);
}

/** A whole number from 0 to 10,000. */
export function countOption(value: string): number {
  return wholeNumber(value, 0, 10_000);
}

function wholeNumber(value: string, least: number, most: number): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < least || number > most)
    throw new InvalidArgumentError(`expected a whole number from ${least} to ${most}, got ${value}.`);
  return number;
}
