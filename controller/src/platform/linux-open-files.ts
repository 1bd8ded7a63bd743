import { readFileSync } from 'node:fs';

/** How many files this process may have open; undefined where the system does not say. Node raises its own limit at its start. */
export function openFilesLimit(): number | undefined {
  try {
    const soft = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}
