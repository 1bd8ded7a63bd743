import type { Certificate, CertificateNode, Prices } from './certificate.js';
import type { LinearProgram } from './linear-program.js';
import type { SearchNode, SearchTree } from './search-tree.js';

/** Below this a dual is rounding. */
const NOISE = 1e-11;
/** How far below 0 an empty part is proven: rays have no length of their own. */
const EMPTY_DEPTH = 1;

/**
 * The certificate of a search tree; undefined where a part has no proof at all (the root was never solved).
 *
 * `capacityOf(u)`: share of time that devices of pool `u` may be busy. A projected program prices copies through the
 * catalogue only: its `link` row is `host` and `link` of the certificate in one.
 */
export function certify(
  tree: SearchTree,
  pools: readonly number[],
  capacityOf: (u: number) => number,
): Certificate | undefined {
  const node = nodeOf(tree.root, tree.program, capacityOf);
  return node === undefined ? undefined : { pools, tree: node };
}

function nodeOf(
  node: SearchNode,
  program: LinearProgram,
  capacityOf: (u: number) => number,
): CertificateNode | undefined {
  if (node.graft !== undefined) return nodeOf(node.graft.root, node.graft.program, capacityOf);
  if (node.split !== undefined) {
    const { decision, at } = node.split;
    const low = nodeOf(node.split.low, program, capacityOf);
    const high = nodeOf(node.split.high, program, capacityOf);
    return low === undefined || high === undefined ? undefined : { branch: decision.branch, at, low, high };
  }
  if (node.proof === undefined) return undefined;
  if ('duals' in node.proof) return { prices: pricesOf(program, node.proof.duals, capacityOf) };
  return { empty: pricesOf(program, scaledRay(program, node), capacityOf) };
}

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
function scaledRay(program: LinearProgram, node: SearchNode): Float64Array {
  if (node.proof === undefined || !('ray' in node.proof)) return new Float64Array(0);
  const { ray } = node.proof;
  const turned = ray.map((value) => -value);
  const [depth, other] = [rayDepth(program, ray, node), rayDepth(program, turned, node)];
  const [best, sum] = depth < other ? [ray, depth] : [turned, other];
  return sum < 0 ? best.map((value) => (value * EMPTY_DEPTH) / -sum) : best;
}

/** Weak duality without an objective within the part's column bounds; below 0 nothing can be feasible. */
function rayDepth(program: LinearProgram, ray: Float64Array, node: SearchNode): number {
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
  gain.forEach((reduced, j) => {
    const range = node.ranges.get(j);
    const [lower, upper] = [range?.lower ?? program.lower[j] ?? 0, range?.upper ?? program.upper[j] ?? 0];
    total += reduced * (reduced > 0 ? upper : lower);
  });
  return total;
}
