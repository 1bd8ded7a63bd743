import type { ProblemArc } from './problem.js';

/** A value and where it is. */
export interface Figure {
  readonly path: string;
  readonly value: number;
}

/** Four digits. */
export const shown = (value: number): string => String(Number(value.toPrecision(4)));

/** The sentence on the figures that are odd; none where there are none. */
export function warning(figures: Iterable<Figure>, unit: string, meant: (value: number) => string): string[] {
  const [first, ...more] = figures;
  if (first === undefined) return [];
  const others = more.length === 0 ? '' : ` (and ${more.length} more)`;
  return [`${first.path} is ${shown(first.value)} ${unit}${others}: probably ${meant(first.value)}.`];
}

/** Arcs that a median is taken of: more say nothing else, and sorting millions takes seconds. */
const SAMPLE = 10_000;

/** Median of a figure over arcs, of every n-th where they are many; NaN without arcs. */
export function median(arcs: readonly ProblemArc[], value: (arc: ProblemArc) => number): number {
  const step = Math.max(1, Math.floor(arcs.length / SAMPLE));
  const sample = new Float64Array(Math.floor(arcs.length / step));
  for (let i = 0; i < sample.length; i++) {
    const arc = arcs[i * step];
    sample[i] = arc === undefined ? 0 : value(arc);
  }
  return sample.sort()[sample.length >> 1] ?? NaN;
}

/** The figures of arcs that are odd, with their place. */
export function arcFigures(
  arcs: readonly ProblemArc[],
  name: string,
  value: (arc: ProblemArc) => number,
  isOdd: (value: number) => boolean,
): Figure[] {
  return arcs.flatMap((arc, i) => (isOdd(value(arc)) ? [{ path: `arcs.${i}.${name}`, value: value(arc) }] : []));
}
