import type { Box } from './pool-templates.js';

/** Gains per busy second of arcs on a device: `worth / slowness - cost - energy * hunger / slowness`. */
export interface Lines {
  readonly worth: Float64Array;
  readonly cost: Float64Array;
  readonly energy: Float64Array;
  /** Arc of each line. */
  readonly at: Int32Array;
  readonly m: Int32Array;
  readonly slowest: Float64Array;
  size: number;
}

/** Buckets of fewer devices are not worth the pruning. */
export const MOST_UNPRUNED = 8;

/**
 * Leaves out lines that gain less than another on every device of the bucket: the difference of two lines is linear in
 * 1 / slowness and hunger / slowness, so it has one sign over a box when it has it at the corners.
 */
export function prune(lines: Lines, [[slow, fast], [lean, hungry]]: Box, modes: number): void {
  const corners = [slow, fast].flatMap((speed) => [lean, hungry].map((ratio) => [speed, ratio] as const));
  const middle = [(slow + fast) / 2, (lean + hungry) / 2] as const;
  const gain = (n: number, [speed, ratio]: readonly [number, number]) =>
    (lines.worth[n] ?? 0) * speed - (lines.cost[n] ?? 0) - (lines.energy[n] ?? 0) * ratio;
  const modeOf = (n: number) => lines.m[lines.at[n] ?? 0] ?? 0;
  for (let m = 0; m < modes; m++) {
    let leader = -1;
    for (let n = 0; n < lines.size; n++) {
      // A line that a slow device may not take leads nobody.
      if (modeOf(n) !== m || (lines.slowest[lines.at[n] ?? 0] ?? Infinity) < 1 / slow) continue;
      if (leader < 0 || gain(n, middle) > gain(leader, middle)) leader = n;
    }
    if (leader < 0) continue;
    const floor = corners.map((corner) => gain(leader, corner));
    const ahead = lines.at[leader] ?? 0;
    let kept = 0;
    for (let n = 0; n < lines.size; n++) {
      const isKept =
        modeOf(n) !== m || lines.at[n] === ahead || corners.some((corner, c) => gain(n, corner) > (floor[c] ?? 0));
      if (!isKept) continue;
      for (const column of [lines.worth, lines.cost, lines.energy, lines.at]) column[kept] = column[n] ?? 0;
      kept++;
    }
    lines.size = kept;
  }
}

/** The line that gains most per busy second, by mode; 0 and -1 where none gains. */
export function bestTimes(
  lines: Lines,
  slowness: number,
  hungerPerSlowness: number,
  best: Float64Array,
  at: Int32Array,
): void {
  best.fill(0);
  at.fill(-1);
  const speed = 1 / slowness;
  for (let n = 0; n < lines.size; n++) {
    const gain = (lines.worth[n] ?? 0) * speed - (lines.cost[n] ?? 0) - (lines.energy[n] ?? 0) * hungerPerSlowness;
    if (gain <= 0) continue;
    const i = lines.at[n] ?? 0;
    const m = lines.m[i] ?? 0;
    if (gain <= (best[m] ?? 0) || slowness > (lines.slowest[i] ?? Infinity)) continue;
    best[m] = gain;
    at[m] = i;
  }
}
