const MOST_CHARACTERS = 40;

/** What was found in a document, short enough for a message, whatever its size or depth; control characters are escaped. */
export function shownValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'number') return shownNumber(value);
  if (typeof value === 'string') return JSON.stringify(cut(value));
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value === null || typeof value === 'boolean') return String(value);
  return 'an object';
}

const cut = (text: string): string => (text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS - 1)}…` : text);

/** Large figures are told by their power of ten: nobody counts zeros. */
export const shownNumber = (value: number): string =>
  Number.isInteger(value) && Math.abs(value) >= 1e7 ? value.toExponential().replace('+', '') : String(value);
