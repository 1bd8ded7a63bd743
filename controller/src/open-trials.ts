/** Puts together how experts come: trials before `auto` may choose them, room to try them in, and exploring with them. */
import { join } from 'node:path';

import type { ExpertId } from '@fleetgate/shared/ids';

import type { OpenCatalogue } from './catalogue/disk-catalogue.js';
import type { DispatchPolicy } from './dispatch/dispatch-policy.js';
import type { Dispatcher } from './dispatch/dispatcher.js';
import { scoreShot, scoringObstacle } from './dispatch/score-shot.js';
import { explorationSchema, Steering } from './dispatch/steering.js';
import type { Fleet } from './fleet/fleet.js';
import { readLabelledPrompts } from './gating/disk-labelled-prompts.js';
import { ExpertTrials } from './gating/expert-trials.js';
import type { LiveGate } from './gating/live-gate.js';
import type { TrialFacts } from './gating/trial.js';
import type { OpenLearning } from './kept-learning.js';
import type { Surroundings } from './surroundings.js';

const NOBODY: ReadonlySet<ExpertId> = new Set();

/** Experts on trial as dispatch sees them; nobody until the trials are open. */
export interface TrialSets {
  trials: ExpertTrials | undefined;
}

/** How `auto` explores, going on with the account of the last run. */
export async function openSteering(
  { log, random }: Surroundings,
  { store, writer }: OpenLearning,
  sets: TrialSets,
): Promise<Steering> {
  const stored = await store.loadState('exploration');
  const account = stored === undefined ? undefined : explorationSchema.safeParse(stored);
  if (account?.success === false) {
    log.warn('gate.exploration-set-aside', { reason: account.error.issues[0]?.message });
    await store.setAside('exploration');
  }
  const parts = {
    random,
    onTrial: () => sets.trials?.onTrial() ?? NOBODY,
    onProbation: () => sets.trials?.onProbation() ?? NOBODY,
    keep: (now: unknown) => writer.keepState('exploration', now),
  };
  return new Steering(parts, account?.data);
}

/** Trials of the catalogue's experts, scored through the dispatcher on prompts of the bundled data. */
export async function openTrials(
  { clock, config, log }: Surroundings,
  { learning, store, trained, fingerprint, writer }: OpenLearning,
  parts: {
    readonly live: LiveGate;
    readonly fleet: Fleet;
    readonly catalogue: OpenCatalogue['registry'];
    readonly dispatcher: Dispatcher;
    readonly policy: () => DispatchPolicy | undefined;
    readonly leads: () => boolean;
  },
): Promise<ExpertTrials> {
  const { catalogue, dispatcher, fleet, leads, live, policy } = parts;
  const facts = (): readonly TrialFacts[] => {
    const { fits, gate } = learning.corrections();
    const isCurrent = gate === fingerprint();
    return [...catalogue.experts.values()].map(({ id, bitsPerByte }) => ({
      id,
      isKnown: live.experts.includes(id) || Object.keys(bitsPerByte).length > 0,
      isCorrected: isCurrent && fits.has(id),
    }));
  };
  return ExpertTrials.open(
    {
      clock,
      log,
      gate: trained,
      fingerprint,
      facts,
      prompts: () => readLabelledPrompts(join(config.expertsDir, 'data'), log),
      obstacle: (expert) =>
        scoringObstacle(({ expertId }) => expertId === expert, {
          fleet: fleet.view,
          catalogue,
          policy: policy(),
          isIdle: (device) => dispatcher.isIdle(device),
        }),
      leads,
      score: (expert, shot, signal) => scoreShot(dispatcher, expert, shot, signal),
      sink: learning,
      learn: () => learning.learn(),
      keep: (trials) => writer.keepState('trials', trials),
    },
    store,
  );
}
