import { readFileSync } from 'node:fs';

export interface ProcessUse {
  readonly cpuS: number;
  readonly peakBytes: number;
}

/** CPU time and greatest memory so far of a process, from /proc; undefined when it is gone or the system has no /proc. */
export function processUse(pid: number): ProcessUse | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is a name in parentheses that may hold anything; times are in hundredths of a second.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    if (peak === undefined) return undefined;
    return { cpuS: (Number(fields[11]) + Number(fields[12])) / 100, peakBytes: Number(peak) * 1024 };
  } catch {
    return undefined;
  }
}

const LOOK_EVERY_MS = 20;

/**
 * Looks at a process until `stop`, which gives what it had used when it was last seen: up to 20 ms before its end. Calls
 * `onTooLarge` once when it has taken more than `mostBytes`.
 */
export function watchUse(pid: number, mostBytes = Infinity, onTooLarge = () => {}): { stop(): ProcessUse } {
  let seen: ProcessUse = { cpuS: 0, peakBytes: 0 };
  const look = () => {
    const isNew = seen.peakBytes <= mostBytes;
    seen = processUse(pid) ?? seen;
    if (isNew && seen.peakBytes > mostBytes) onTooLarge();
    return seen;
  };
  const timer = setInterval(look, LOOK_EVERY_MS);
  return {
    stop: () => {
      clearInterval(timer);
      return look();
    },
  };
}
