/**
 * The independent checker of bounds: recomputes from the instance and the certificate's prices alone what the best
 * placement can be worth at most. It shares nothing with the models given to solvers.
 *
 * Weak duality: every bound's price is paid for what is used of it; then each decision is worth its own gain less what
 * it pays, within its own limits, and the sum of all, plus the price of every bound, is above every placement. Any
 * prices at or above 0 give a true bound; good ones give a tight one.
 */
import type { BoundColumns } from './bound-columns.js';
import type { BranchDecision, Certificate, CertificateNode, Prices } from './certificate.js';
import { PriceTable } from './price-table.js';
import { devicesGain } from './verify-bound-device.js';

/** Ranges of the decisions within one part of the tree, by `decisionKey`; what is missing is free. */
export type Domain = ReadonlyMap<string, readonly [number, number]>;

export interface BoundCheck {
  /** No placement has an objective above this; Infinity when the certificate is broken. */
  readonly bound: number;
  readonly faults: readonly string[];
}

/**
 * How far below 0 a part that is said to be empty has to be proven. Prices without an objective have no length of their
 * own, so `certify.ts` makes it 1: less is rounding.
 */
const EMPTY_MARGIN = 0.5;

/** The bound that a certificate proves. O(leaves * arcs). */
export function verifyBound(columns: BoundColumns, certificate: Certificate): BoundCheck {
  const { devices } = columns.problem;
  if (certificate.pools.length !== devices.length) {
    return { bound: Infinity, faults: [`pools: ${certificate.pools.length} entries for ${devices.length} devices`] };
  }
  const odd = certificate.pools.find((u) => !Number.isInteger(u) || u < 0 || u >= devices.length);
  if (odd !== undefined) return { bound: Infinity, faults: [`pools: ${odd} is no pool of ${devices.length} devices`] };
  const faults: string[] = [];
  const bound = nodeBound(columns, certificate.tree, new Map(), faults);
  return { bound: faults.length === 0 ? bound : Infinity, faults };
}

function nodeBound(columns: BoundColumns, node: CertificateNode, domain: Domain, faults: string[]): number {
  if ('prices' in node) return partBound(columns, node.prices, domain, 1);
  if ('empty' in node) {
    const sum = partBound(columns, node.empty, domain, 0);
    if (sum < -EMPTY_MARGIN) return -Infinity;
    faults.push(`a part is said to be empty, but its prices prove ${sum}, not less than 0`);
    return Infinity;
  }
  if (!Number.isInteger(node.at)) {
    faults.push(`a branching at ${node.at} leaves whole numbers out`);
    return Infinity;
  }
  const key = decisionKey(node.branch);
  const [low, high] = domain.get(key) ?? [0, Infinity];
  const part = (child: CertificateNode, from: number, to: number) =>
    from > to ? -Infinity : nodeBound(columns, child, new Map(domain).set(key, [from, to]), faults);
  return Math.max(part(node.low, low, Math.min(high, node.at)), part(node.high, Math.max(low, node.at + 1), high));
}

export function decisionKey(decision: BranchDecision): string {
  switch (decision.of) {
    case 'variant':
      return `t${decision.v}`;
    case 'powered':
      return `a${decision.u},${decision.m}`;
    case 'copies':
      return `x${decision.u},${decision.v}`;
  }
}

/** What the bounds cost and every decision gains, with the objective (`scale` 1) or without it (0). O(arcs). */
export function partBound(columns: BoundColumns, prices: Prices, domain: Domain, scale: 0 | 1): number {
  const { budgets, classes, sites = [] } = columns.problem;
  const table = new PriceTable(prices, {
    pools: columns.poolCount,
    modes: columns.modeCount,
    variants: columns.problem.variants.length,
    classes: classes.length,
    sites: sites.length,
  });
  const price = (group: string, i = 0) => table.at(group)[i] ?? 0;
  let total = price('power') * (budgets.powerW - (budgets.baseW ?? 0)) + price('move') * (budgets.moveGiB ?? 0);
  classes.forEach((each, k) => {
    // A class without demand has nothing to serve, so its floor is no bound.
    total += price('served', k) - (each.rate === 0 ? 0 : price('floor', k) * each.minServed);
    total -= price('replicas', k) * each.minReplicas + price('sites', k) * (each.minSites ?? 0);
  });
  sites.forEach((site, s) => {
    total += price('sitepower', s) * (site.powerW ?? 0) + price('network', s) * (site.networkBps ?? 0);
  });
  const listed = new Float64Array(columns.problem.variants.length);
  const { forced, barred } = catalogueRange(columns, domain);
  total += devicesGain(columns, { table, domain, barred, scale, listed });
  return total + catalogueGain(budgets.maxVariants, listed, { forced, barred });
}

interface CatalogueRange {
  /** By variant: 1 where it has to be in the catalogue. */
  readonly forced: Uint8Array;
  /** By variant: 1 where it may not be; when the catalogue is full of forced ones, all others may not. */
  readonly barred: Uint8Array;
}

function catalogueRange({ problem }: BoundColumns, domain: Domain): CatalogueRange {
  const most = problem.budgets.maxVariants;
  const range = problem.variants.map((_, v) => domain.get(`t${v}`) ?? [0, 1]);
  const forced = Uint8Array.from(range, ([low]) => (low >= 1 ? 1 : 0));
  const isFull = most !== null && forced.reduce((sum, each) => sum + each, 0) >= most;
  return { forced, barred: Uint8Array.from(range, ([low, high]) => (high < 1 || (isFull && low < 1) ? 1 : 0)) };
}

/** The most that a catalogue of at most `most` variants earns from what devices and classes pay for each variant. */
function catalogueGain(most: number | null, listed: Float64Array, { forced, barred }: CatalogueRange): number {
  if (most === null) return 0;
  const room = most - forced.reduce((sum, each) => sum + each, 0);
  if (room < 0) return -Infinity;
  const free = listed.filter((_, v) => forced[v] === 0 && barred[v] === 0).sort((a, b) => b - a);
  const total = listed.reduce((sum, gain, v) => (forced[v] === 1 ? sum + gain : sum), 0);
  return free.slice(0, room).reduce((sum, gain) => sum + Math.max(0, gain), total);
}
