/**
 * What the devices of each pool would really do at given prices (Dantzig and Wolfe 1960): a pool's mean device stands for
 * all in the linear program, but each device has its own best use of its time. The sum of what they gain bounds the
 * objective truly; what they do together is a new column of the program.
 */
import type { LinearProgram } from './linear-program.js';
import { batteryW, countOf, modesOf } from './placement.js';
import { bestTimes, type Lines, MOST_UNPRUNED, prune } from './pool-lines.js';
import { type Bucket, bucketsOf, type Template } from './pool-templates.js';
import { PoolUse } from './pool-use.js';
import type { Pooling } from './pools.js';
import type { PlacementProblem } from './problem.js';
import type { SessionColumn } from './solver.js';

export interface PoolResponse {
  /** No placement within the part is better. */
  readonly bound: number;
  /** What pools would rather do, for those that gain by more than `worth` points in all. */
  readonly columns: readonly SessionColumn[];
}

export class PoolPricing {
  readonly #problem: PlacementProblem;
  readonly #pooled: PlacementProblem;
  readonly #rows: ReadonlyMap<string, number>;
  readonly #program: LinearProgram;
  readonly #buckets: readonly Bucket[];
  readonly #slowness: Float64Array;
  readonly #hunger: Float64Array;
  /** Row of the strong bound by variant * classes + class, of the link by pool * variants + variant; -1: none. */
  readonly #strongRows: Int32Array;
  readonly #linkRows: Int32Array;

  constructor(problem: PlacementProblem, pooling: Pooling, program: LinearProgram) {
    this.#problem = problem;
    this.#pooled = pooling.problem;
    this.#program = program;
    this.#rows = new Map(program.rowNames.flatMap((name, i) => (name === undefined ? [] : [[name, i] as const])));
    this.#buckets = bucketsOf(problem, pooling);
    this.#slowness = Float64Array.from(problem.devices, ({ like }) => like?.slowness ?? 1);
    this.#hunger = Float64Array.from(problem.devices, ({ like }) => like?.hunger ?? 1);
    const [V, K] = [problem.variants.length, problem.classes.length];
    const rowOf = (name: string) => this.#rows.get(name) ?? -1;
    this.#strongRows = Int32Array.from({ length: V * K }, (_, i) => rowOf(`strong:${Math.floor(i / K)},${i % K}`));
    this.#linkRows = Int32Array.from({ length: pooling.problem.devices.length * V }, (_, i) =>
      rowOf(`link:${Math.floor(i / V)},${i % V}`),
    );
  }

  /** `catalogue`: by variant, whether it has to be (1), may be (0) or may not be (-1) in the catalogue. O(arcs). */
  respond(duals: Float64Array, catalogue: Int8Array, worth: number): PoolResponse {
    const prices = this.#prices(duals);
    const price = (name: string) => prices[this.#rows.get(name) ?? -1] ?? 0;
    const strong = Float64Array.from(this.#strongRows, (row) => prices[row] ?? 0);
    const link = Float64Array.from(this.#linkRows, (row) => prices[row] ?? 0);
    let total = this.#fixedWorth(price) + this.#catalogueWorth({ strong, link }, catalogue);
    const columns: SessionColumn[] = [];
    const gains = new Float64Array(this.#pooled.devices.length);
    const uses = this.#pooled.devices.map((_, u) => new PoolUse(this.#pooled, u));
    for (const bucket of this.#buckets)
      gains[bucket.u] = (gains[bucket.u] ?? 0) + this.#bucketGain(bucket, { price, strong, link, catalogue }, uses);
    gains.forEach((gain, u) => {
      total += gain;
      const now = this.#gainNow(u, price, duals);
      if (gain - now > worth) columns.push(this.#column(u, uses[u]));
    });
    return { bound: total, columns };
  }

  /** Prices of the rows, at least 0. */
  #prices(duals: Float64Array): Float64Array {
    const { rowUpper } = this.#program;
    return duals.map((dual, row) => Math.max(0, (rowUpper[row] ?? Infinity) < Infinity ? dual : -dual));
  }

  #fixedWorth(price: (name: string) => number): number {
    const { budgets, classes, sites = [] } = this.#problem;
    let total = price('power') * (budgets.powerW - (budgets.baseW ?? 0));
    classes.forEach(({ minServed }, k) => (total += price(`served:${k}`) - price(`floor:${k}`) * minServed));
    sites.forEach((site, s) => {
      total += price(`sitepower:${s}`) * (site.powerW ?? 0) + price(`network:${s}`) * (site.networkBps ?? 0);
    });
    this.#pooled.devices.forEach((_, u) => (total += price(`modes:${u}`) * countOf(this.#pooled, u)));
    return total;
  }

  #catalogueWorth({ strong, link }: Pick<Market, 'strong' | 'link'>, catalogue: Int8Array): number {
    const [V, K] = [this.#problem.variants.length, this.#problem.classes.length];
    const most = this.#problem.budgets.maxVariants;
    if (most === null) return 0;
    let [total, room] = [0, most];
    const free: number[] = [];
    for (let v = 0; v < V; v++) {
      if (catalogue[v] === -1) continue;
      let worth = 0;
      for (let k = 0; k < K; k++) worth += strong[v * K + k] ?? 0;
      this.#pooled.devices.forEach((device, u) => {
        worth += (link[u * V + v] ?? 0) * device.maxUtil * countOf(this.#pooled, u);
      });
      if (catalogue[v] === 1) {
        total += worth;
        room--;
      } else free.push(worth);
    }
    return free
      .sort((a, b) => b - a)
      .slice(0, Math.max(0, room))
      .reduce((sum, worth) => sum + worth, total);
  }

  /** What the mean device of a pool gains by the program's own price of its time. */
  #gainNow(u: number, price: (name: string) => number, duals: Float64Array): number {
    const device = this.#pooled.devices[u];
    if (device === undefined) return 0;
    const gains = modesOf(device).map(({ idleW }, m) => {
      const watt = this.#wattPrice(u, m, price);
      const time = Math.max(0, duals[this.#rows.get(`util:${u},${m}`) ?? -1] ?? 0);
      return device.maxUtil * time + this.#capWorth(u, m, price) - idleW * watt - price(`modes:${u}`);
    });
    return Math.max(0, ...gains) * countOf(this.#pooled, u);
  }

  #wattPrice(u: number, m: number, price: (name: string) => number): number {
    const site = this.#pooled.devices[u]?.site;
    const ofSite = site === undefined ? 0 : price(`sitepower:${site}`);
    return price('power') + ofSite + price(`devpower:${u},${m}`) + price(`battery:${u},${m}`);
  }

  #capWorth(u: number, m: number, price: (name: string) => number): number {
    const device = this.#pooled.devices[u];
    if (device === undefined) return 0;
    const cap = modesOf(device)[m]?.powerCapW ?? 0;
    return price(`devpower:${u},${m}`) * cap + price(`battery:${u},${m}`) * (batteryW(this.#pooled, device) ?? 0);
  }

  /** Gain of the devices of a bucket, each at its best; what they do is added to their pool's use. */
  #bucketGain({ u, template, devices, box }: Bucket, market: Market, uses: readonly PoolUse[]): number {
    const pool = this.#pooled.devices[u];
    const use = uses[u];
    if (pool === undefined || use === undefined) return 0;
    const modes = modesOf(pool);
    const { price } = market;
    const watts = modes.map((_, m) => this.#wattPrice(u, m, price));
    const lines = this.#lines(u, template, market, watts);
    if (devices.length >= MOST_UNPRUNED) prune(lines, box, modes.length);
    const caps = modes.map((_, m) => this.#capWorth(u, m, price) - price(`modes:${u}`));
    const [best, at] = [new Float64Array(modes.length), new Int32Array(modes.length)];
    let total = 0;
    for (const d of devices) {
      const device = this.#problem.devices[d];
      if (device === undefined) continue;
      const slowness = this.#slowness[d] ?? 1;
      bestTimes(lines, slowness, (this.#hunger[d] ?? 1) / slowness, best, at);
      let [gain, chosen] = [0, -1];
      for (let m = 0; m < modes.length; m++) {
        const idleW = device.modes?.[m]?.idleW ?? device.idleW;
        const on = device.maxUtil * (best[m] ?? 0) + (caps[m] ?? 0) - idleW * (watts[m] ?? 0);
        if (on <= gain) continue;
        gain = on;
        chosen = m;
      }
      if (chosen < 0) continue;
      const count = device.count ?? 1;
      total += gain * count;
      const idleW = device.modes?.[chosen]?.idleW ?? device.idleW;
      use.add({ count, m: chosen, idleW, template, i: at[chosen] ?? -1, slowness, hunger: this.#hunger[d] ?? 1 });
    }
    return total;
  }

  /** Gain per busy second of arc `i` on a device: `worth / slowness - cost - energy * hunger / slowness`. */
  #lines(u: number, t: Template, { price, strong, link, catalogue }: Market, watts: readonly number[]): Lines {
    const { classes, variants } = this.#problem;
    const [V, K] = [variants.length, classes.length];
    const size = t.v.length;
    const lines: Lines = {
      ...{ worth: new Float64Array(size), cost: new Float64Array(size), energy: new Float64Array(size) },
      ...{ at: new Int32Array(size), m: t.m, slowest: t.slowest, size: 0 },
    };
    const ofClass = classes.map((each, k) => {
      const site = this.#pooled.devices[u]?.site;
      const perBit = site === undefined ? 0 : price(`network:${site}`);
      const latency = price(`latency:${k}`);
      const energy = price(`energy:${k}`);
      const fixed =
        price(`floor:${k}`) - price(`served:${k}`) + latency * each.sloMean_s + energy * (each.maxEnergy_J ?? 0);
      return {
        fixed: fixed - each.rate * (each.requestBits ?? 0) * perBit,
        latency,
        perJoule: energy / Math.max(1e-12, each.rate),
      };
    });
    for (let i = 0; i < size; i++) {
      const [v, k] = [t.v[i] ?? 0, t.k[i] ?? 0];
      const of = ofClass[k];
      if (catalogue[v] === -1 || of === undefined) continue;
      const busy = t.busy[i] ?? 1;
      const n = lines.size++;
      lines.at[n] = i;
      lines.worth[n] = ((t.points[i] ?? 0) + of.fixed - (strong[v * K + k] ?? 0)) / busy;
      lines.cost[n] = (of.latency * (t.latency[i] ?? 0)) / busy + (link[u * V + v] ?? 0);
      lines.energy[n] = ((t.watts[i] ?? 0) * ((watts[t.m[i] ?? 0] ?? 0) + of.perJoule)) / busy;
    }
    return lines;
  }

  /** What the devices of pool `u` do together, as a column: it takes the place of all its devices being on. */
  #column(u: number, use: PoolUse | undefined): SessionColumn {
    const entries: [number, number][] = [];
    const put = (name: string, value: number) => {
      const row = this.#rows.get(name);
      if (row !== undefined && value !== 0) entries.push([row, value]);
    };
    const device = this.#pooled.devices[u];
    if (use === undefined || device === undefined) return { cost: 0, upper: 0, entries };
    const count = countOf(this.#pooled, u);
    const isPlain = device.modes === undefined;
    if (isPlain) put(`util:${u},0`, device.maxUtil * count);
    put(`modes:${u}`, count);
    // Without modes the column needs its devices on, which pays their mean idle power already.
    const idleW = use.idleW - (isPlain ? device.idleW * count : 0);
    const dynamicW = use.watts.reduce((sum, watts) => sum + watts, 0);
    put('power', idleW + dynamicW);
    if (device.site !== undefined) {
      put(`sitepower:${device.site}`, idleW + dynamicW);
      put(`network:${device.site}`, use.bits);
    }
    modesOf(device).forEach(({ idleW: idle, powerCapW }, m) => {
      const on = (use.on[m] ?? 0) - (isPlain ? count : 0);
      put(`devpower:${u},${m}`, on * (idle - (powerCapW ?? 0)) + (use.watts[m] ?? 0));
      put(`battery:${u},${m}`, on * (idle - (batteryW(this.#pooled, device) ?? 0)) + (use.watts[m] ?? 0));
    });
    use.served.forEach((share, k) => {
      put(`served:${k}`, share);
      put(`floor:${k}`, share);
      put(`latency:${k}`, use.latency[k] ?? 0);
      put(`energy:${k}`, use.energy[k] ?? 0);
    });
    use.strong.forEach((share, vk) => {
      const K = this.#problem.classes.length;
      put(`strong:${Math.floor(vk / K)},${vk % K}`, share);
    });
    use.busy.forEach((busy, v) => put(`link:${u},${v}`, busy));
    return { cost: use.points, upper: 1, entries };
  }
}

/** Prices as they are looked up, and the part's catalogue. */
interface Market {
  readonly price: (name: string) => number;
  /** By variant * classes + class. */
  readonly strong: Float64Array;
  /** By pool * variants + variant. */
  readonly link: Float64Array;
  readonly catalogue: Int8Array;
}
