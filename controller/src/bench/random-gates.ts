import type { Random } from '@fleetgate/shared/random';

import type { GateProblem } from '../optimiser/gate-problem.js';

type HardGate = Extract<GateProblem, { kind: 'gate' }>;

export interface GateShape {
  readonly experts: number;
  readonly classes: number;
  /**
   * `spread`: quality anywhere in 0..1. `clusters`: builds of a few experts, alike within a cluster and good at few classes.
   * `generalists`: large experts that are good everywhere and cost most. `coarse`: few levels of quality, so many ties.
   */
  readonly structure: 'spread' | 'clusters' | 'generalists' | 'coarse';
  readonly maxExperts: number | null;
  /** Budgets as a share of what all experts together use. */
  readonly budgetShare: number;
  readonly minReplicas: number;
}

/** Share of expert and class pairs that are not eligible. */
const HOLES = 0.15;
const round = (value: number): number => Math.round(value * 1e4) / 1e4;

/** A random instance of the kind `gate`, with two resources. */
export function randomGate(random: Random, shape: GateShape): HardGate {
  const { experts, classes, budgetShare } = shape;
  const quality = qualities(random, shape);
  const size = quality.map((row) =>
    shape.structure === 'generalists' ? 0.2 + row.reduce((a, b) => a + b, 0) / classes : 0.1 + random.uniform(),
  );
  const resources = [0, 1].map(() => size.map((each) => round(each * (0.7 + 0.6 * random.uniform()))));
  return {
    schema: 'fleet-opt/1',
    kind: 'gate',
    name: `${shape.structure}-${experts}x${classes}`,
    experts,
    classes,
    weight: Array.from({ length: classes }, () => round(0.2 + 0.9 * random.uniform())),
    quality,
    resources,
    budget: resources.map((use) => round(budgetShare * use.reduce((a, b) => a + b, 0))),
    maxExperts: shape.maxExperts,
    minReplicas: shape.minReplicas,
  };
}

function qualities(random: Random, { experts, classes, structure }: GateShape): number[][] {
  const clusters = Math.max(2, Math.round(experts / 6));
  const centres = Array.from({ length: clusters }, () =>
    Array.from({ length: classes }, () =>
      random.uniform() < 0.25 ? 0.6 + 0.35 * random.uniform() : 0.3 * random.uniform(),
    ),
  );
  return Array.from({ length: experts }, (_, i) => {
    const strength = 0.3 + 0.6 * random.uniform();
    return Array.from({ length: classes }, (_, k) => {
      const chance = random.uniform();
      if (random.uniform() < HOLES) return 0;
      if (structure === 'spread') return round(chance);
      if (structure === 'coarse') return Math.ceil(chance * 4) / 4;
      if (structure === 'generalists') return round(Math.min(1, strength + 0.3 * (chance - 0.5)));
      return round(Math.max(0, (centres[i % clusters]?.[k] ?? 0) + 0.15 * (chance - 0.5)));
    });
  });
}
