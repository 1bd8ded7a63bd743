/** Value of a metric without labels in Prometheus text; undefined when it is not there. */
export function metricOf(text: string, name: string): number | undefined {
  for (const line of text.split('\n')) {
    if (!line.startsWith(`${name} `)) continue;
    const value = Number(
      line
        .slice(name.length + 1)
        .trim()
        .split(' ')[0],
    );
    return Number.isFinite(value) ? value : undefined;
  }
  return undefined;
}

/** CPU time that the process behind a Prometheus text has used. */
export function cpuSecondsOf(text: string): number | undefined {
  const total = /^([a-z_]*process_cpu_seconds_total)(?:\{[^}]*\})? /m.exec(text)?.[0];
  if (total === undefined) return undefined;
  const value = Number(text.slice(text.indexOf(total) + total.length).split(/\s/)[0]);
  return Number.isFinite(value) ? value : undefined;
}

/** Resident memory of the process behind a Prometheus text. */
export function residentBytesOf(text: string): number | undefined {
  const line = /^[a-z_]*process_resident_memory_bytes(?:\{[^}]*\})? (\S+)/m.exec(text);
  const value = Number(line?.[1]);
  return line !== null && Number.isFinite(value) ? value : undefined;
}
