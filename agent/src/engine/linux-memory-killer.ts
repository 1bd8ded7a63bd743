import { writeFileSync } from 'node:fs';

/** Of -1000 (never) to 1000 (first), proc(5). */
const FIRST_OF_OURS = '500';

/**
 * Has the system end this process rather than others when memory runs out: an engine holds most of it and is started again,
 * where the agent that does so must live. Anybody may raise their own; where there is no such file nothing changes.
 */
export function offerToOutOfMemoryKiller(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', FIRST_OF_OURS);
  } catch {
    // Not Linux, or forbidden: the system chooses as it would have.
  }
}
