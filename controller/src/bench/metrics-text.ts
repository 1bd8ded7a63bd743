/** CPU time that the process behind a Prometheus text has used, seconds; undefined when it does not say. */
export function cpuSecondsOf(text: string): number | undefined {
  const value = /^[a-z_]*process_cpu_seconds_total(?:\{[^}]*\})? (\S+)/m.exec(text)?.[1];
  return value === undefined || !Number.isFinite(Number(value)) ? undefined : Number(value);
}

/** Sum of a metric's values in a Prometheus text over all series that have these labels; 0 for none. */
export function metricSum(text: string, name: string, labels: Readonly<Record<string, string>> = {}): number {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  let sum = 0;
  for (const line of text.split('\n')) {
    if (!line.startsWith(name)) continue;
    const [, series = '', value] = /^(\{[^}]*\})? (\S+)/.exec(line.slice(name.length)) ?? [];
    if (value !== undefined && wanted.every((one) => series.includes(one))) sum += Number(value);
  }
  return sum;
}
