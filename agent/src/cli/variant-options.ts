import { InvalidArgumentError } from 'commander';

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 1024,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
};

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('expected an integer of 1 or more.');
  return value;
}

export function positiveNumber(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('expected a number above 0.');
  return value;
}

/** Bytes, with or without a unit: 4000000, 4MB, 1.5GiB. */
export function bytesOption(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]i?b)?$/i.exec(text.trim());
  const bytes = Math.floor(Number(match?.[1]) * (UNITS[(match?.[2] ?? '').toUpperCase()] ?? NaN));
  if (bytes >= 1) return bytes;
  throw new InvalidArgumentError('expected bytes such as 4000000, 4MB or 1.5GiB.');
}

/** Whole numbers, separated by commas. */
export function integersOption(text: string): readonly number[] {
  return text.split(',').map((part) => positiveInteger(part.trim()));
}
