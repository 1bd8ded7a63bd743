/** Puts together how what devices have is replaced wave by wave, and what plans and dispatch see of it. */
import { join } from 'node:path';

import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { SlabMask } from '@fleetgate/shared/catalogue/slab-mask';
import type { ExpertId, VariantId } from '@fleetgate/shared/ids';
import type { Observable } from 'rxjs';

import type { Catalogue } from './catalogue/catalogue.js';
import type { VariantAdditions } from './catalogue/variant-additions.js';
import type { DispatchPolicy } from './dispatch/dispatch-policy.js';
import type { Dispatcher } from './dispatch/dispatcher.js';
import { scoreShot, scoringObstacle } from './dispatch/score-shot.js';
import type { AttemptFact } from './fleet/attempt-fact.js';
import type { Fleet } from './fleet/fleet.js';
import { readLabelledPrompts } from './gating/disk-labelled-prompts.js';
import type { Leading } from './platform/leading.js';
import { ResidencyLoop } from './pruning/residency-loop.js';
import type { Placements } from './rollout/lingering.js';
import type { ReleaseBook } from './rollout/release-book.js';
import type { RolloutBook } from './rollout/rollout-book.js';
import { type Probe, RolloutProbes } from './rollout/rollout-probes.js';
import { Rollouts } from './rollout/rollouts.js';
import type { Surroundings } from './surroundings.js';

export interface RolloutSurroundings {
  readonly fleet: Fleet;
  readonly catalogue: Catalogue;
  readonly dispatcher: Dispatcher;
  readonly policy: () => DispatchPolicy | undefined;
  readonly planned: () => Placements | undefined;
  readonly attempts$: Observable<AttemptFact>;
  readonly variants: VariantAdditions;
  readonly releases: ReleaseBook;
  readonly leading: Leading;
}

/** Rollouts, and what proposes some of them by itself. */
export function openRollouts(
  { clock, config, log, random, closers }: Surroundings,
  book: RolloutBook,
  parts: RolloutSurroundings,
): { readonly rollouts: Rollouts; readonly residencyLoop: ResidencyLoop } {
  const { catalogue, dispatcher, fleet, policy, variants } = parts;
  const isIdle = (wanted: VariantId): boolean =>
    scoringObstacle(({ id }) => id === wanted, {
      ...{ fleet: fleet.view, catalogue, policy: policy() },
      isIdle: (device) => dispatcher.isIdle(device),
    }) === undefined;
  const bitsPerByte = async (
    variant: VariantId,
    probe: Probe,
    signal: AbortSignal,
    mask?: SlabMask,
  ): Promise<number> => {
    const { bits, bytes } = await scoreShot(dispatcher, variant, probe, signal, mask);
    return bits / Math.max(1, bytes);
  };
  const prompts = async (expert: ExpertId): Promise<readonly Probe[]> =>
    ownFirst(
      await readLabelledPrompts(join(config.expertsDir, 'data'), log),
      catalogue.experts.get(expert)?.domains ?? [],
    );
  const probes = new RolloutProbes({
    ...{ book, catalogue, prompts, isIdle, log },
    score: async (variant, probe, signal) => 2 ** -(await bitsPerByte(variant, probe, signal)),
  });
  const { movesPerMinute } = config;
  const rollouts = new Rollouts({ ...parts, book, probes, movesPerMinute, clock, random, log });
  rollouts.start();
  closers.add('rollouts', () => rollouts.stop());
  const residencyLoop = new ResidencyLoop({
    ...{ fleet, catalogue, isIdle, clock, log },
    leading: parts.leading,
    prompts: ({ expertId }) => prompts(expertId),
    score: (variant, probe, mask, signal) => bitsPerByte(variant, probe, signal, mask),
    addVariant: (expert, request) => variants.add(expert, request),
    rollOut: (request) => rollouts.create(request),
    isAutomatic: config.autoPrune,
  });
  closers.add('residency loop', () => residencyLoop.stop());
  return { rollouts, residencyLoop };
}

/** A plan's part with what rollouts make of it; made again when either changes. */
export function withRollouts<T extends { readonly placements: Placements }>(
  planned: () => T | undefined,
  book: Pick<RolloutBook, 'placementsOf' | 'version'>,
): () => T | undefined {
  let last: { readonly from: T; readonly version: unknown; readonly value: T } | undefined;
  return () => {
    const from = planned();
    if (from === undefined) return undefined;
    const version = book.version;
    if (last?.from !== from || last.version !== version) {
      const placements = book.placementsOf(from.placements);
      last = { from, version, value: placements === from.placements ? from : { ...from, placements } };
    }
    return last.value;
  };
}

/** The catalogue as planning is to see it: without what is still being rolled out, and without what was replaced. */
export function plannable(catalogue: Catalogue, book: Pick<RolloutBook, 'withheld'>): () => Catalogue {
  return () => {
    const withheld = book.withheld();
    if (withheld.size === 0) return catalogue;
    const isOpen = ({ id }: Variant): boolean => !withheld.has(id);
    return {
      experts: new Map(
        [...catalogue.experts].map(([id, expert]) => [id, { ...expert, variants: expert.variants.filter(isOpen) }]),
      ),
      variants: new Map([...catalogue.variants].filter(([, variant]) => isOpen(variant))),
    };
  };
}

/** Those of the expert's own domains come first. */
function ownFirst(prompts: readonly Probe[], domains: readonly string[]): readonly Probe[] {
  const isOwn = ({ id }: Probe): boolean => domains.some((domain) => id.startsWith(`${domain}-`));
  return [...prompts.filter(isOwn), ...prompts.filter((prompt) => !isOwn(prompt))];
}
