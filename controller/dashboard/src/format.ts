/** Quantities as people read them. Input in base units (W, J, ms, bytes); a value that is not known is an en dash. */

export const UNKNOWN = '–';
const SPACE = '\u00a0';

type Value = number | null | undefined;

/** About three significant digits, never in exponent notation. */
export function number(value: number): string {
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return value.toFixed(digits).replace(/^-(?=0(\.0+)?$)/, '');
}

function scaled(value: Value, steps: readonly (readonly [from: number, divisor: number, unit: string])[]): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  const size = Math.abs(value);
  const step = steps.find(([from]) => size >= from) ?? steps.at(-1);
  if (step === undefined) return number(value);
  const [, divisor, unit] = step;
  return `${number(value / divisor)}${SPACE}${unit}`;
}

export function watts(value: Value): string {
  return scaled(value, [
    [1000, 1000, 'kW'],
    [0, 1, 'W'],
  ]);
}

export function joules(value: Value): string {
  if (value === 0) return `0${SPACE}J`;
  return scaled(value, [
    [1e6, 1e6, 'MJ'],
    [1000, 1000, 'kJ'],
    [0.1, 1, 'J'],
    [0, 0.001, 'mJ'],
  ]);
}

/** A duration: `842 ms`, `1.24 s`, `2 min 05 s`. */
export function duration(ms: Value): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return UNKNOWN;
  if (Math.abs(ms) < 1000) return `${Math.abs(ms) < 10 ? number(ms) : Math.round(ms)}${SPACE}ms`;
  if (Math.abs(ms) < 60_000) return `${number(ms / 1000)}${SPACE}s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)}${SPACE}min ${String(seconds % 60).padStart(2, '0')}${SPACE}s`;
}

export function bytes(value: Value): string {
  if (value === 0) return `0${SPACE}MiB`;
  return scaled(value, [
    [1024 ** 4, 1024 ** 4, 'TiB'],
    [1024 ** 3, 1024 ** 3, 'GiB'],
    [1024 ** 2, 1024 ** 2, 'MiB'],
    [0, 1024, 'KiB'],
  ]);
}

export function tokensPerS(value: Value): string {
  return value === 0 ? `0${SPACE}tok/s` : scaled(value, [[0, 1, 'tok/s']]);
}

export function celsius(value: Value): string {
  return value === null || value === undefined ? UNKNOWN : `${Math.round(value)}${SPACE}°C`;
}

/** A ratio 0..1 as a percentage. */
export function percent(ratio: Value): string {
  if (ratio === null || ratio === undefined || !Number.isFinite(ratio)) return UNKNOWN;
  const value = ratio * 100;
  const digits = value === 0 || Math.abs(value) >= 10 ? 0 : Math.abs(value) >= 1 ? 1 : 2;
  return `${value.toFixed(digits)}${SPACE}%`;
}

/** How long ago: `now`, `12 s ago`, `3 min ago`. A future instant (clocks differ) reads `now`. */
export function ago(atMs: Value, nowMs: number): string {
  if (atMs === null || atMs === undefined) return 'never';
  const seconds = Math.floor((nowMs - atMs) / 1000);
  if (seconds < 3) return 'now';
  if (seconds < 60) return `${seconds}${SPACE}s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}${SPACE}min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}${SPACE}h ago`;
  return `${Math.floor(seconds / 86_400)}${SPACE}d ago`;
}

/** Wall time of an instant in the reader's zone: `14:03:07`. */
export function timeOfDay(atMs: number): string {
  const at = new Date(atMs);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}

/** `1 device`, `3 devices`. */
export function count(n: number, singular: string, plural = `${singular}s`): string {
  return `${n}${SPACE}${n === 1 ? singular : plural}`;
}

/** A value with the unit that the controller named. Knows the units of plan constraints. */
export function quantity(value: number, unit: string): string {
  switch (unit) {
    case 'W':
      return watts(value);
    case 'J':
      return joules(value);
    case 'ms':
      return duration(value);
    case 's':
      return duration(value * 1000);
    case 'bytes':
    case 'B':
      return bytes(value);
    case 'GiB':
      return bytes(value * 1024 ** 3);
    case 'MiB':
      return bytes(value * 1024 ** 2);
    case 'ratio':
    case 'served share':
    case 'busy share':
      return percent(value);
    case '':
      return number(value).replace(/\.0+$/, '');
    default:
      return `${number(value).replace(/\.0+$/, '')}${SPACE}${unit}`;
  }
}

/** Splits a formatted quantity in its number and its unit, for setting the unit smaller. */
export function parts(text: string): readonly [value: string, unit: string] {
  const at = text.indexOf(SPACE);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
