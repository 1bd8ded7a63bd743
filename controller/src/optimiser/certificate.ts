/**
 * What a plan claims beyond its placement, in a form that anyone can check: a tree that splits all placements into
 * parts, with prices for each part that prove how good its best placement can be at most (weak duality).
 *
 * `verify-bound.ts` recomputes the bound from the instance and these prices alone.
 */

/** Bounds on whole-number decisions that a branch of the tree narrows. `u` is an index of `pools`. */
export type BranchDecision =
  /** Variant `v` is in the catalogue. */
  | { readonly of: 'variant'; readonly v: number }
  /** Devices of pool `u` that are on (in mode `m`, where the pool has modes). */
  | { readonly of: 'powered'; readonly u: number; readonly m: number }
  /** Copies of variant `v` on devices of pool `u`. */
  | { readonly of: 'copies'; readonly u: number; readonly v: number };

/**
 * Price, at least 0, of one unit of a bound, by the bound's name: objective points per unit. What is missing costs
 * nothing. Names: `power`, `move`, `served:k`, `floor:k`, `latency:k`, `energy:k`, `replicas:k`, `sites:k`,
 * `sitepower:s`, `network:s`, `strong:v,k`, and for each pool `slots:u`, `memory:u`, `modes:u`, `devpower:u,m`,
 * `battery:u,m`, `host:u,v`, `on:u,v`, `link:u,v`, `load:u,v`, `replica-on:u,k`, `replica-host:u,k`, `site-host:s,k`.
 * docs/formulation.md lists the rows.
 */
export type Prices = Readonly<Record<string, number>>;

export type CertificateNode =
  /** No placement of this part is better than what the prices prove. */
  | { readonly prices: Prices }
  /** This part holds no placement at all: without an objective the prices prove a bound below 0. */
  | { readonly empty: Prices }
  /** All placements of this part have the decision at most `at` (`low`) or at least `at + 1` (`high`). */
  | {
      readonly branch: BranchDecision;
      readonly at: number;
      readonly low: CertificateNode;
      readonly high: CertificateNode;
    };

export interface Certificate {
  /** Pool of each device: devices of a pool share prices and are branched on together. */
  readonly pools: readonly number[];
  readonly tree: CertificateNode;
}

/** Parts that a certificate splits all placements into. */
export function partsOf(node: CertificateNode): number {
  return 'branch' in node ? partsOf(node.low) + partsOf(node.high) : 1;
}
