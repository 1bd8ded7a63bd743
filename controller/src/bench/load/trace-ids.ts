/** Ids of traces that no other phase has; W3C wants neither half of one to be zero. */
export function traceIds(seed: number): (phase: number) => (at: number) => string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0').slice(-digits);
  return (phase) => (at) => `10ad${hex(seed, 8)}${hex(phase, 4)}${hex(at + 1, 16)}`;
}
