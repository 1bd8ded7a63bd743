/** CPU time that the process behind a Prometheus text has used, seconds; undefined when it does not say. */
export function cpuSecondsOf(text: string): number | undefined {
  const value = /^[a-z_]*process_cpu_seconds_total(?:\{[^}]*\})? (\S+)/m.exec(text)?.[1];
  return value === undefined || !Number.isFinite(Number(value)) ? undefined : Number(value);
}
