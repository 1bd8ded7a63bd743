import type { Random } from '@fleetgate/shared/random';

import type { BranchDecision, CertificateNode, Prices } from './certificate.js';
import type { LinearProgram } from './linear-program.js';
import type { PlacementProblem } from './problem.js';

/** Every name that a price may have, as `certificate.ts` lists them, for a fleet in so many pools. */
export function priceNames({ classes, variants, devices, sites = [] }: PlacementProblem, pools: number): string[] {
  const modes = devices.reduce((most, device) => Math.max(most, device.modes?.length ?? 1), 1);
  const each = (name: string, size: number) => Array.from({ length: size }, (_, i) => `${name}:${i}`);
  const pairs = (name: string, first: number, second: number) => each(name, first).flatMap((of) => paired(of, second));
  const [K, V, S] = [classes.length, variants.length, sites.length];
  return [
    ...['power', 'move'],
    ...['served', 'floor', 'latency', 'energy', 'replicas', 'sites'].flatMap((name) => each(name, K)),
    ...['sitepower', 'network'].flatMap((name) => each(name, S)),
    ...['slots', 'memory', 'modes'].flatMap((name) => each(name, pools)),
    ...['host', 'on', 'link', 'load'].flatMap((name) => pairs(name, pools, V)),
    ...['devpower', 'battery'].flatMap((name) => pairs(name, pools, modes)),
    ...['replica-on', 'replica-host'].flatMap((name) => pairs(name, pools, K)),
    ...[...pairs('strong', V, K), ...pairs('site-host', S, K)],
  ];
}

const paired = (of: string, size: number) => Array.from({ length: size }, (_, j) => `${of},${j}`);

/** Prices of a random part of the names, over `decades` powers of ten around 1. */
export function randomPrices(names: readonly string[], random: Random, decades: number): Prices {
  const share = random.uniform();
  const price = () => 10 ** (decades * (random.uniform() - 0.5));
  return Object.fromEntries(names.flatMap((name) => (random.uniform() < share ? [[name, price()] as const] : [])));
}

/** Prices near others: some dropped, some changed up to twofold. What was nearly tight stays nearly tight. */
export function nearPrices(prices: Prices, random: Random): Prices {
  const change = (price: number) => (random.uniform() < 0.5 ? price : price * 2 ** (2 * random.uniform() - 1));
  return Object.fromEntries(
    Object.entries(prices).flatMap(([name, price]) => (random.uniform() < 0.1 ? [] : [[name, change(price)] as const])),
  );
}

/** Duals of a program as prices, by the names of their rows. */
export function pricesOf({ rowNames, rowUpper }: LinearProgram, duals: Float64Array): Prices {
  return Object.fromEntries(
    rowNames.flatMap((name, i) => {
      const price = (rowUpper[i] ?? Infinity) < Infinity ? (duals[i] ?? 0) : -(duals[i] ?? 0);
      return name === undefined || name.startsWith('util:') ? [] : [[name, price] as const];
    }),
  );
}

/** A tree of branchings on anything, also twice on the same or where nothing is left. */
export function randomTree(
  problem: PlacementProblem,
  pools: number,
  random: Random,
  depth: number,
  leaf: () => CertificateNode,
): CertificateNode {
  if (depth === 0 || random.uniform() < 0.2) return leaf();
  const below = (size: number) => Math.floor(random.uniform() * size);
  const [u, v, m] = [below(pools), below(problem.variants.length), below(2)];
  const kinds: readonly BranchDecision[] = [
    { of: 'variant', v },
    { of: 'powered', u, m },
    { of: 'copies', u, v },
  ];
  const branch = kinds[below(kinds.length)] ?? { of: 'variant', v };
  const child = () => randomTree(problem, pools, random, depth - 1, leaf);
  return { branch, at: below(4) - 1, low: child(), high: child() };
}
