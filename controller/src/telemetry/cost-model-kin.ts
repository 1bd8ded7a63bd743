/** What variants of one shape say of each other's costs. Pure. */
import type { Variant } from '@fleetgate/shared/catalogue/expert';

import { type LogFigure, pooled } from './cost-model-figure.js';
import type { CostFigures } from './cost-model-prior.js';

/** What was seen of a sibling counts this much of what was seen of the variant itself. */
const KIN_SHARE = 0.5;
const SAME_SIZE = 0.02;

/**
 * Whether two variants do the same work for a token: fine-tunes of one base model in one quantisation, say. Their true
 * costs on a device are the same; what differs in their benchmarks is noise, and an optimiser picks the luckiest.
 */
export function areKin(a: Variant, b: Variant): boolean {
  const [x, y] = [a.facts, b.facts];
  return (
    x.architecture === y.architecture &&
    x.quantisation === y.quantisation &&
    x.layers === y.layers &&
    x.embeddingLength === y.embeddingLength &&
    x.slabsPerLayer === y.slabsPerLayer &&
    x.slabsPerToken === y.slabsPerToken &&
    Math.abs(x.fileBytes - y.fileBytes) <= SAME_SIZE * Math.max(x.fileBytes, y.fileBytes)
  );
}

/** A variant's figures with those of its kin on the same device; undefined when nothing was seen of any of them. */
export function withKin(own: CostFigures | undefined, kin: readonly CostFigures[]): CostFigures | undefined {
  if (kin.length === 0) return own;
  const figure = (of: (figures: CostFigures) => LogFigure): LogFigure =>
    pooled([
      ...(own === undefined ? [] : [{ figure: of(own), share: 1 }]),
      ...kin.map((one) => ({ figure: of(one), share: KIN_SHARE })),
    ]);
  return {
    prefillMs: figure((one) => one.prefillMs),
    decodeMs: figure((one) => one.decodeMs),
    prefillW: figure((one) => one.prefillW),
    decodeW: figure((one) => one.decodeW),
    overheadMs: figure((one) => one.overheadMs),
  };
}
