/** A job that waits: how often a later one was started before it. */
export interface Waiting {
  passed: number;
}

/** How often a job may be passed over; more gains little (docs/figures.md) and makes the unlucky wait. */
export const MOST_PASSED = 4;
/** Only so many are looked at: a choice costs as many comparisons. */
const WINDOW = 16;

/**
 * Which of the waiting ones to start: batching of jobs that share slabs (Read-ME, Cai et al. 2024, section 4), with a bound
 * on waiting. `waiting` is in order of arrival; `sharing`: what a job has in common with what is in memory, 0..1, and less
 * where it may not go first. It is the first of the best, and the first of all once it was passed over `MOST_PASSED` times: no
 * job ever is more often, since whatever passes a job passes those before it as well. Those passed over are counted.
 */
export function nextToStart<W extends Waiting>(waiting: readonly W[], sharing: (one: W) => number): W | undefined {
  const [first] = waiting;
  if (first === undefined || first.passed >= MOST_PASSED) return first;
  let [best, most] = [first, sharing(first)];
  for (const one of waiting.slice(1, WINDOW)) {
    const share = sharing(one);
    if (share > most) [best, most] = [one, share];
  }
  for (const one of waiting) {
    if (one === best) break;
    one.passed++;
  }
  return best;
}
