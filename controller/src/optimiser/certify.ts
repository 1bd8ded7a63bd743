import type { Certificate, CertificateNode, Prices } from './certificate.js';
import type { LinearProgram } from './linear-program.js';
import { leafBound, type SearchNode, type SearchTree } from './search-tree.js';
import { decisionKey, type Domain } from './verify-bound.js';

/** Below this a dual is rounding. */
const NOISE = 1e-11;
/** How far below 0 an empty part is proven: rays have no length of their own. */
const EMPTY_DEPTH = 1;
/** A part that is no deeper than this share of what the program says may be a matter of rounding. */
const SHALLOW = 1e-3;

export interface CertifiedPools {
  /** Pool of each device. */
  readonly pools: readonly number[];
  /** Share of time that devices of pool `u` may be busy. */
  readonly capacityOf: (u: number) => number;
  /** What the checker makes of prices without the objective, within ranges by `decisionKey`; below 0: nothing is there. */
  readonly emptySum: (prices: Prices, domain: Domain) => number;
}

/**
 * The certificate of a search tree; undefined where a part has no proof at all (the root was never solved). A part that
 * is empty by the simplex's word alone keeps the bound of the part that it was split from.
 *
 * A projected program prices copies through the catalogue only: its `link` row is `host` and `link` of the certificate
 * in one.
 */
export function certify(tree: SearchTree, of: CertifiedPools): Certificate | undefined {
  const node = nodeOf(tree.root, tree.program, new Map(), of);
  return node === undefined ? undefined : { pools: of.pools, tree: node };
}

function nodeOf(
  node: SearchNode,
  program: LinearProgram,
  domain: Domain,
  of: CertifiedPools,
): CertificateNode | undefined {
  const { graft, split, proof } = node;
  if (graft !== undefined && leafBound(graft.root) <= node.bound) {
    const further = nodeOf(graft.root, graft.program, domain, of);
    if (further !== undefined) return further;
  }
  if (split !== undefined) {
    const { decision, at } = split;
    const key = decisionKey(decision.branch);
    const [low, high] = domain.get(key) ?? [0, Infinity];
    const child = (part: SearchNode, from: number, to: number) =>
      nodeOf(part, program, new Map(domain).set(key, [from, to]), of);
    const lower = child(split.low, low, Math.min(high, at));
    const upper = child(split.high, Math.max(low, at + 1), high);
    if (lower === undefined || upper === undefined) return undefined;
    return { branch: decision.branch, at, low: lower, high: upper };
  }
  if (proof?.ray !== undefined) {
    const empty = pricesOf(program, scaledRay(program, node, proof.ray), of.capacityOf);
    // The checker knows fewer bounds than the program: what is less deep for it is made as deep.
    const sum = of.emptySum(empty, domain);
    if (sum < -SHALLOW) return { empty: sum < -EMPTY_DEPTH ? empty : scaled(empty, -EMPTY_DEPTH / sum) };
    if (proof.duals === undefined) return { empty };
  }
  return proof?.duals === undefined ? undefined : { prices: pricesOf(program, proof.duals, of.capacityOf) };
}

const scaled = (prices: Prices, by: number): Prices =>
  Object.fromEntries(Object.entries(prices).map(([name, price]) => [name, price * by]));

/** Duals by the names of their rows, as prices of at least 0. */
function pricesOf(program: LinearProgram, duals: Float64Array, capacityOf: (u: number) => number): Prices {
  const prices: Record<string, number> = {};
  const isProjected = !program.rowNames.some((name) => name?.startsWith('host:'));
  program.rowNames.forEach((name, i) => {
    if (name === undefined || name.startsWith('util:')) return;
    const dual = duals[i] ?? 0;
    const price = (program.rowUpper[i] ?? Infinity) < Infinity ? dual : -dual;
    if (!(price > NOISE)) return;
    prices[name] = price;
    if (!isProjected || !name.startsWith('link:')) return;
    const pair = name.slice('link:'.length);
    prices[`host:${pair}`] = price;
    prices[name] = price * capacityOf(Number(pair.split(',')[0]));
  });
  return prices;
}

/** The ray with the sign that proves emptiness, long enough to prove it beyond rounding. */
function scaledRay(program: LinearProgram, node: SearchNode, ray: Float64Array): Float64Array {
  const turned = ray.map((value) => -value);
  const [depth, other] = [rayDepth(program, ray, node), rayDepth(program, turned, node)];
  const best = servedPaid(program, depth < other ? ray : turned);
  const sum = rayDepth(program, best, node);
  return sum < 0 ? best.map((value) => (value * EMPTY_DEPTH) / -sum) : best;
}

/**
 * The ray with what shares gain paid for by their class's demand, of which there is but one. A ray may leave it to the bounds
 * of the columns that no class is served twice, and the checker knows of none.
 */
function servedPaid(program: LinearProgram, ray: Float64Array): Float64Array {
  const { gain } = paidOf(program, ray);
  const paid = Float64Array.from(ray);
  program.rowNames.forEach((name, i) => {
    if (name?.startsWith('served:') !== true) return;
    let most = 0;
    for (let e = program.rowStarts[i] ?? 0; e < (program.rowStarts[i + 1] ?? 0); e++) {
      most = Math.max(most, (gain[program.indices[e] ?? 0] ?? 0) / (program.values[e] ?? 1));
    }
    paid[i] = Math.max(0, paid[i] ?? 0) + most;
  });
  return paid;
}

/** Weak duality without an objective within the part's column bounds; below 0 nothing can be feasible. */
function rayDepth(program: LinearProgram, ray: Float64Array, node: SearchNode): number {
  const { total, gain } = paidOf(program, ray);
  return gain.reduce((sum, reduced, j) => {
    const range = node.ranges.get(j);
    const [lower, upper] = [range?.lower ?? program.lower[j] ?? 0, range?.upper ?? program.upper[j] ?? 0];
    return sum + reduced * (reduced > 0 ? upper : lower);
  }, total);
}

/** What the bounds of the rows cost, and what a unit of each column gains; rows whose sign proves nothing are left out. */
function paidOf(program: LinearProgram, ray: Float64Array): { readonly total: number; readonly gain: Float64Array } {
  const gain = new Float64Array(program.cost.length);
  let total = 0;
  for (let i = 0; i < program.rowLower.length; i++) {
    const upper = program.rowUpper[i] ?? Infinity;
    const isUpper = upper < Infinity;
    const dual = ray[i] ?? 0;
    if (isUpper ? dual <= 0 : dual >= 0) continue;
    total += dual * (isUpper ? upper : (program.rowLower[i] ?? 0));
    for (let e = program.rowStarts[i] ?? 0; e < (program.rowStarts[i + 1] ?? 0); e++) {
      const j = program.indices[e] ?? 0;
      gain[j] = (gain[j] ?? 0) - dual * (program.values[e] ?? 0);
    }
  }
  return { total, gain };
}
