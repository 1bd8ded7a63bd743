import { arcIndexOf } from './arc-index.js';
import { weightedRate } from './placement.js';
import type { Pooling } from './pools.js';
import type { PlacementProblem } from './problem.js';

/** Arcs of the devices that share a template, in columns. Per request/s of a whole class: points, busy seconds, joules. */
export interface Template {
  readonly v: Int32Array;
  readonly k: Int32Array;
  readonly m: Int32Array;
  readonly points: Float64Array;
  readonly busy: Float64Array;
  readonly watts: Float64Array;
  readonly latency: Float64Array;
  /** Slowness above which the arc breaks its class's tail bound. */
  readonly slowest: Float64Array;
}

/** Devices of one pool with one template. */
export interface Bucket {
  readonly u: number;
  readonly template: Template;
  readonly devices: Int32Array;
  /** Least and greatest 1 / slowness and hunger / slowness of the devices. */
  readonly box: Box;
}

export type Box = readonly [readonly [number, number], readonly [number, number]];

/** Devices by pool and template. O(devices + arcs of templates). */
export function bucketsOf(problem: PlacementProblem, pooling: Pooling): Bucket[] {
  const index = arcIndexOf(problem);
  const templates = new Map<number, Template>();
  const devices = new Map<string, { u: number; template: number; devices: number[] }>();
  problem.devices.forEach((_, d) => {
    const [u, template] = [pooling.poolOf[d] ?? 0, index.template(d)];
    const key = `${u},${template}`;
    const known = devices.get(key);
    if (known === undefined) devices.set(key, { u, template, devices: [d] });
    else known.devices.push(d);
  });
  return [...devices.values()].map(({ u, template, devices: own }) => {
    const known = templates.get(template) ?? templateOf(problem, template);
    templates.set(template, known);
    const like = (d: number) => problem.devices[d]?.like ?? { slowness: 1, hunger: 1 };
    const box = [
      range(own.map((d) => 1 / like(d).slowness)),
      range(own.map((d) => like(d).hunger / like(d).slowness)),
    ] as const;
    return { u, template: known, devices: Int32Array.from(own), box };
  });
}

function range(values: readonly number[]): readonly [number, number] {
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) {
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  return [least, most];
}

function templateOf(problem: PlacementProblem, d: number): Template {
  const total = weightedRate(problem);
  const arcs = arcIndexOf(problem)
    .of(d)
    .filter(({ k }) => (problem.classes[k]?.rate ?? 0) > 0);
  const rate = (k: number) => problem.classes[k]?.rate ?? 0;
  return {
    v: Int32Array.from(arcs, ({ v }) => v),
    k: Int32Array.from(arcs, ({ k }) => k),
    m: Int32Array.from(arcs, ({ m = 0 }) => m),
    points: Float64Array.from(arcs, ({ k, quality }) =>
      total === 0 ? 0 : (1000 * (problem.classes[k]?.weight ?? 0) * rate(k) * quality) / total,
    ),
    busy: Float64Array.from(arcs, ({ k, service_s }) => service_s * rate(k)),
    watts: Float64Array.from(arcs, ({ k, energy_J }) => energy_J * rate(k)),
    latency: Float64Array.from(arcs, ({ latency_s }) => latency_s),
    slowest: Float64Array.from(arcs, ({ k, p95_s }) =>
      p95_s === undefined ? Infinity : (problem.classes[k]?.sloP95_s ?? Infinity) / p95_s,
    ),
  };
}
