import type { Template } from './pool-templates.js';
import type { PlacementProblem } from './problem.js';

/** Sums of what the devices of a pool do. */
export class PoolUse {
  points = 0;
  idleW = 0;
  bits = 0;
  readonly on: Float64Array;
  readonly watts: Float64Array;
  readonly served: Float64Array;
  readonly latency: Float64Array;
  readonly energy: Float64Array;
  readonly strong: Float64Array;
  readonly busy: Float64Array;
  readonly #problem: PlacementProblem;
  readonly #maxUtil: number;

  constructor(problem: PlacementProblem, u: number) {
    const device = problem.devices[u];
    const [K, V, M] = [problem.classes.length, problem.variants.length, device?.modes?.length ?? 1];
    this.#problem = problem;
    this.#maxUtil = device?.maxUtil ?? 0;
    this.on = new Float64Array(M);
    this.watts = new Float64Array(M);
    this.served = new Float64Array(K);
    this.latency = new Float64Array(K);
    this.energy = new Float64Array(K);
    this.strong = new Float64Array(K * V);
    this.busy = new Float64Array(V);
  }

  add(device: {
    readonly count: number;
    readonly m: number;
    readonly idleW: number;
    readonly template: Template;
    readonly i: number;
    readonly slowness: number;
    readonly hunger: number;
  }): void {
    const { count, m, template, i, slowness, hunger } = device;
    this.on[m] = (this.on[m] ?? 0) + count;
    this.idleW += device.idleW * count;
    if (i < 0) return;
    const [v, k] = [template.v[i] ?? 0, template.k[i] ?? 0];
    const of = this.#problem.classes[k];
    if (of === undefined) return;
    const share = (this.#maxUtil * count) / ((template.busy[i] ?? 1) * slowness);
    const watts = share * (template.watts[i] ?? 0) * hunger;
    this.points += share * (template.points[i] ?? 0);
    this.watts[m] = (this.watts[m] ?? 0) + watts;
    this.bits += share * of.rate * (of.requestBits ?? 0);
    this.served[k] = (this.served[k] ?? 0) + share;
    this.latency[k] = (this.latency[k] ?? 0) + share * ((template.latency[i] ?? 0) * slowness - of.sloMean_s);
    this.energy[k] = (this.energy[k] ?? 0) + watts / of.rate - share * (of.maxEnergy_J ?? 0);
    const vk = v * this.served.length + k;
    this.strong[vk] = (this.strong[vk] ?? 0) + share;
    this.busy[v] = (this.busy[v] ?? 0) + this.#maxUtil * count;
  }
}
