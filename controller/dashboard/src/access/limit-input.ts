/** What a person typed as a limit: nothing is no limit. Undefined: it is no whole number above 0. */
export function parseLimit(text: string): number | null | undefined {
  const typed = text.trim();
  if (typed === '') return null;
  const value = Number(typed);
  return Number.isSafeInteger(value) && value > 0 ? value : undefined;
}
