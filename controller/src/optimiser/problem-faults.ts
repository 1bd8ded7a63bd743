import type { PlacementProblem } from './problem.js';

/** At most this many faults are listed: a broken generator repeats its mistake. */
const MOST_FAULTS = 8;

/** What the schema cannot see: indices that do not exist, duplicate arcs and ids. Empty when the problem is sound. */
export function problemFaults(problem: PlacementProblem): string[] {
  const faults: string[] = [];
  const known = (path: string, index: number, size: number, what: string) => {
    if (index < size) return true;
    faults.push(`${path}: expected ${what} 0..${size - 1}, got ${index}`);
    return false;
  };
  const unique = (path: string, ids: readonly string[]) => {
    const seen = new Set<string>();
    ids.forEach((id, i) => {
      if (seen.has(id)) faults.push(`${path}.${i}.id: "${id}" is used twice`);
      seen.add(id);
    });
  };
  unique(
    'classes',
    problem.classes.map(({ id }) => id),
  );
  unique(
    'variants',
    problem.variants.map(({ id }) => id),
  );
  unique(
    'devices',
    problem.devices.map(({ id }) => id),
  );
  const seen = new Set<number>();
  problem.arcs.forEach((arc, i) => {
    if (faults.length >= MOST_FAULTS) return;
    const isKnown =
      known(`arcs.${i}.d`, arc.d, problem.devices.length, 'a device') &&
      known(`arcs.${i}.v`, arc.v, problem.variants.length, 'a variant') &&
      known(`arcs.${i}.k`, arc.k, problem.classes.length, 'a class');
    if (!isKnown) return;
    const key = (arc.d * problem.variants.length + arc.v) * problem.classes.length + arc.k;
    if (seen.has(key)) faults.push(`arcs.${i}: device ${arc.d}, variant ${arc.v}, class ${arc.k} is given twice`);
    seen.add(key);
  });
  problem.current.forEach(([d, v], i) => {
    known(`current.${i}.0`, d, problem.devices.length, 'a device');
    known(`current.${i}.1`, v, problem.variants.length, 'a variant');
  });
  return faults.slice(0, MOST_FAULTS);
}
