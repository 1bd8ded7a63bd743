import { warning } from './odd-figures.js';
import type { PlacementProblem } from './problem.js';

/** Bounds lie near the figures that they bound: 1 to 15 times the least of them in every reference instance. */
const FAR_ABOVE = 200;
const FAR_BELOW = 50;
/** So far above it was surely meant to be none. */
const NO_BOUND = 1e5;

/** Bounds of classes against the figures that they bound. */
export function boundUnitWarnings(problem: PlacementProblem): string[] {
  const bounds = [
    {
      name: 'sloMean_s',
      figure: 'latency_s',
      unit: 's',
      milli: 'milliseconds, not seconds',
      large: 'minutes or hours,',
    },
    { name: 'sloP95_s', figure: 'p95_s', unit: 's', milli: 'milliseconds, not seconds', large: 'minutes or hours,' },
    { name: 'maxEnergy_J', figure: 'energy_J', unit: 'J', milli: 'millijoules, not joules', large: 'kilojoules,' },
  ] as const;
  return bounds.flatMap(({ name, figure, unit, milli, large }) => {
    const least = new Float64Array(problem.classes.length).fill(Infinity);
    const most = new Float64Array(problem.classes.length);
    for (const arc of problem.arcs) {
      const value = arc[figure] ?? 0;
      if (value === 0) continue;
      least[arc.k] = Math.min(least[arc.k] ?? Infinity, value);
      most[arc.k] = Math.max(most[arc.k] ?? 0, value);
    }
    const isLarge = (k: number, value: number) =>
      (most[k] ?? 0) > 0 && value > FAR_ABOVE * (most[k] ?? 0) && value < NO_BOUND * (most[k] ?? 0);
    const isSmall = (k: number, value: number) =>
      value > 0 && value * FAR_BELOW < (least[k] ?? 0) && (most[k] ?? 0) > 0;
    const figures = (isOdd: (k: number, value: number) => boolean) =>
      problem.classes
        .map((each, k) => ({ k, path: `classes.${k}.${name}`, value: each[name] ?? 0 }))
        .filter(({ k, value }) => isOdd(k, value));
    return [
      ...warning(figures(isLarge), `${unit}, over ${FAR_ABOVE} times every ${figure}`, () => milli),
      ...warning(
        figures(isSmall),
        `${unit}, less than 1/${FAR_BELOW} of every ${figure}`,
        () => `${large} or the ${figure} of its arcs in ${milli}`,
      ),
    ];
  });
}
