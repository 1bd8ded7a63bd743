/**
 * What one device gains at given prices, per unit of each decision (for `verify-bound-device.ts`).
 *
 * The price of a device's time is never stated. It is taken as the most that any of its arcs could gain per busy second,
 * which is the best choice: then routing gains nothing, and being on gains what the time is worth.
 */
import type { BoundColumns } from './bound-columns.js';
import type { PriceTable } from './price-table.js';
import type { PlacementProblem, ProblemDevice } from './problem.js';
import type { Domain } from './verify-bound.js';

export interface Pricing {
  readonly table: PriceTable;
  readonly domain: Domain;
  /** By variant: 1 where it is not in the catalogue in this part. */
  readonly barred: Uint8Array;
  /** 1: with the objective; 0: without. */
  readonly scale: 0 | 1;
  /** Filled in: what the catalogue is paid for each variant, by devices and classes. */
  readonly listed: Float64Array;
}

/** One instance is filled again and again. */
export class DeviceGains {
  /** By mode: being on. */
  readonly on: Float64Array;
  /** By variant, before what loading costs. */
  readonly copies: Float64Array;
  /** By variant: 1 where the device has an arc of it. */
  readonly hosts: Uint8Array;
  /** Counting as a host of classes that want replicas. */
  hosting = 0;
  readonly #columns: BoundColumns;
  readonly #time: Float64Array;
  readonly #watt: Float64Array;
  /** (variant, class) pairs already counted for this device. */
  readonly #seen: Int32Array;
  readonly #fixed: Float64Array;
  readonly #perJoule: Float64Array;
  /** By class: 1 where it wants replicas or sites. */
  readonly #wanted: Uint8Array;
  /** By class that wants replicas or sites: 1 where the device has an arc of it. */
  readonly fits: Uint8Array;

  constructor(columns: BoundColumns) {
    const { variants, classes } = columns.problem;
    this.#columns = columns;
    this.on = new Float64Array(columns.modeCount);
    this.#time = new Float64Array(columns.modeCount);
    this.#watt = new Float64Array(columns.modeCount);
    this.copies = new Float64Array(variants.length);
    this.hosts = new Uint8Array(variants.length);
    this.fits = new Uint8Array(classes.length);
    this.#fixed = new Float64Array(classes.length);
    this.#perJoule = new Float64Array(classes.length);
    this.#wanted = Uint8Array.from(classes, ({ minReplicas, minSites = 0 }) =>
      minReplicas > 0 || minSites > 0 ? 1 : 0,
    );
    this.#seen = new Int32Array(variants.length * classes.length).fill(-1);
  }

  read(pricing: Pricing, device: ProblemDevice, d: number): void {
    const { problem, modeCount: M } = this.#columns;
    const { table } = pricing;
    const u = this.#columns.pools[d] ?? 0;
    const [V, K] = [problem.variants.length, problem.classes.length];
    for (let m = 0; m < M; m++) this.#watt[m] = wattPrice(problem, table, device, u * M + m, m);
    this.#time.fill(0);
    this.copies.fill(0);
    this.hosts.fill(0);
    this.fits.fill(0);
    this.#readArcs(pricing, device, d, u);
    let [onPrice, replicaOn] = [0, 0];
    const [slots, memory] = [table.at('slots')[u] ?? 0, table.at('memory')[u] ?? 0];
    for (let v = 0; v < V; v++) {
      if (this.hosts[v] === 0) continue;
      const pair = u * V + v;
      const on = table.at('on')[pair] ?? 0;
      const link = problem.budgets.maxVariants === null ? 0 : (table.at('link')[pair] ?? 0);
      const held = slots + (problem.variants[v]?.memGiB ?? 0) * memory;
      this.copies[v] = (this.copies[v] ?? 0) + device.maxUtil * (table.at('host')[pair] ?? 0) - on - link - held;
      onPrice += on;
    }
    this.hosting = 0;
    for (let k = 0; k < K; k++) {
      if (this.fits[k] === 0) continue;
      const paid = table.at('replica-on')[u * K + k] ?? 0;
      replicaOn += paid;
      const worth = (table.at('replicas')[k] ?? 0) + sitePrice(table, device.site, k, K);
      this.hosting += Math.max(0, worth - paid - (table.at('replica-host')[u * K + k] ?? 0));
    }
    const fixed = device.slots * slots + device.memGiB * memory + onPrice + replicaOn - (table.at('modes')[u] ?? 0);
    const batteryW = (device.battery_J ?? 0) / (problem.budgets.horizon_s ?? Infinity);
    for (let m = 0; m < M; m++) {
      const caps = (table.at('devpower')[u * M + m] ?? 0) * (capOf(device, m) ?? 0);
      const stored = (table.at('battery')[u * M + m] ?? 0) * batteryW;
      const idle = (device.modes?.[m]?.idleW ?? device.idleW) * (this.#watt[m] ?? 0);
      this.on[m] = device.maxUtil * (this.#time[m] ?? 0) + caps + stored + fixed - idle;
    }
  }

  #readArcs({ table, barred, scale }: Pricing, device: ProblemDevice, d: number, u: number): void {
    const { problem, starts, arcs } = this.#columns;
    const { classes, budgets } = problem;
    const [V, K] = [problem.variants.length, classes.length];
    const [slowness, hunger] = [device.like?.slowness ?? 1, device.like?.hunger ?? 1];
    const { fixed, perJoule } = this.#classPrices(table, device);
    const [latency, strong, host] = [table.at('latency'), table.at('strong'), table.at('host')];
    const replicaHost = table.at('replica-host');
    const [hosts, time, watt] = [this.hosts, this.#time, this.#watt];
    const isListed = budgets.maxVariants !== null;
    const block = device.like?.d ?? d;
    const end = starts[block + 1] ?? 0;
    for (let i = starts[block] ?? 0; i < end; i++) {
      if (slowness > (arcs.slowest[i] ?? Infinity)) continue;
      const [v, k] = [arcs.v[i] ?? 0, arcs.k[i] ?? 0];
      hosts[v] = 1;
      if (this.#wanted[k] === 1 && this.#seen[v * K + k] !== d) {
        this.#seen[v * K + k] = d;
        this.fits[k] = 1;
        this.copies[v] = (this.copies[v] ?? 0) + (replicaHost[u * K + k] ?? 0);
      }
      const busy = (arcs.busy[i] ?? 0) * slowness;
      if (busy === 0 || barred[v] === 1) continue;
      const m = arcs.m[i] ?? 0;
      let gain = scale * (arcs.points[i] ?? 0) + (fixed[k] ?? 0) - busy * (host[u * V + v] ?? 0);
      gain -= (latency[k] ?? 0) * (arcs.latency[i] ?? 0) * slowness;
      gain -= (arcs.watts[i] ?? 0) * hunger * ((watt[m] ?? 0) + (perJoule[k] ?? 0));
      if (isListed) gain -= strong[v * K + k] ?? 0;
      if (gain > busy * (time[m] ?? 0)) time[m] = gain / busy;
    }
  }

  /** By class: what being served whole gains whatever the arc, and what a watt of it costs beyond the device's own price. */
  #classPrices(table: PriceTable, device: ProblemDevice) {
    const { classes, sites } = this.#columns.problem;
    const isFree = device.site === undefined || isUnbounded(sites?.[device.site]?.networkBps);
    const perBit = isFree ? 0 : (table.at('network')[device.site ?? 0] ?? 0);
    classes.forEach((each, k) => {
      const energy = isUnbounded(each.maxEnergy_J) ? 0 : (table.at('energy')[k] ?? 0);
      const bounds = (table.at('latency')[k] ?? 0) * each.sloMean_s + energy * (each.maxEnergy_J ?? 0);
      const bits = each.rate * (each.requestBits ?? 0) * perBit;
      this.#fixed[k] = (table.at('floor')[k] ?? 0) - (table.at('served')[k] ?? 0) + bounds - bits;
      this.#perJoule[k] = each.rate === 0 ? 0 : energy / each.rate;
    });
    return { fixed: this.#fixed, perJoule: this.#perJoule };
  }
}

const isUnbounded = (bound: number | null | undefined): boolean => bound === null || bound === undefined;

const capOf = (device: ProblemDevice, m: number): number | null =>
  (device.modes === undefined ? device.powerCapW : device.modes[m]?.powerCapW) ?? null;

/** What one watt on a device costs: it counts against the fleet, its site, its own cap and its battery. */
function wattPrice(problem: PlacementProblem, table: PriceTable, device: ProblemDevice, um: number, m: number): number {
  let price = table.at('power')[0] ?? 0;
  if (device.site !== undefined && !isUnbounded(problem.sites?.[device.site]?.powerW)) {
    price += table.at('sitepower')[device.site] ?? 0;
  }
  if (capOf(device, m) !== null) price += table.at('devpower')[um] ?? 0;
  if (!isUnbounded(device.battery_J)) price += table.at('battery')[um] ?? 0;
  return price;
}

/** What a host of class `k` is worth to its site; a device without one is a site of its own. */
const sitePrice = (table: PriceTable, site: number | undefined, k: number, classes: number): number =>
  site === undefined ? (table.at('sites')[k] ?? 0) : (table.at('site-host')[site * classes + k] ?? 0);
