import type { Variant } from '@fleetgate/shared/catalogue/expert';
import type { SlabMask } from '@fleetgate/shared/catalogue/slab-mask';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, messageOf } from '@fleetgate/shared/errors';
import type { VariantId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { Catalogue } from '../catalogue/catalogue.js';
import type { VariantRequest } from '../catalogue/variant-additions.js';
import type { FleetSnapshot } from '../fleet/device.js';
import type { Leading } from '../platform/leading.js';
import type { Probe } from '../rollout/rollout-probes.js';
import type { RolloutRecord } from '../rollout/rollout-record.js';
import type { RolloutRequest } from '../rollout/rollout-spec.js';
import { lossOf, type MaskTrial, NO_TRIAL, verdictOf, withScore } from './mask-trial.js';
import { proposeResidency, type ResidencyProposal, stillFits } from './propose-residency.js';
import { type SlabDemand, slabDemands } from './slab-demand.js';

const LOOK = milliseconds(2000);
/** Prompts between two looks. */
const AT_A_TIME = 8;
/** Trials that are kept: proposals come and go with the demand. */
const MOST_TRIALS = 100;
const MOST_NAME = 63;

/** A proposal, and how far it is. `open`: nothing has to be shown, or not yet. */
export interface ProposalState {
  readonly proposal: ResidencyProposal;
  readonly trial: MaskTrial;
  readonly state: 'open' | 'tolerated' | 'too-much';
}

export interface ResidencyLoopParts {
  readonly fleet: { readonly view: FleetSnapshot };
  readonly catalogue: Catalogue;
  readonly leading: Leading;
  readonly prompts: (variant: Variant) => Promise<readonly Probe[]>;
  /** Whether a variant is resident, and its devices have nothing else to do. */
  readonly isIdle: (variant: VariantId) => boolean;
  /** Bits per byte of the reference answer, with some slabs only where a mask is given. */
  readonly score: (
    variant: VariantId,
    probe: Probe,
    mask: SlabMask | undefined,
    signal: AbortSignal,
  ) => Promise<number>;
  readonly addVariant: (expert: string, request: VariantRequest) => Promise<Variant>;
  readonly rollOut: (request: RolloutRequest) => Promise<RolloutRecord>;
  /** Whether what was found tolerable is rolled out without being asked. */
  readonly isAutomatic: boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * From what devices are asked to what they keep: the demand for slabs proposes masks and budgets for each class of
 * devices; masks are tried on labelled prompts on a device that serves the mixture, by a mask at run time; what is
 * tolerated becomes a variant and goes out by a rollout, one device of the class first.
 */
export class ResidencyLoop {
  readonly #parts: ResidencyLoopParts;
  readonly #trials = new Map<string, MaskTrial>();
  /** By variant and class, until the demand is another one. */
  readonly #proposals = new Map<string, readonly ResidencyProposal[]>();
  readonly #accepted = new Set<string>();
  readonly #abort = new AbortController();
  readonly #stopClock: () => void;
  #work: Promise<void> | undefined;

  constructor(parts: ResidencyLoopParts) {
    this.#parts = parts;
    this.#stopClock = parts.clock.every(LOOK, () => this.#look());
  }

  async stop(): Promise<void> {
    this.#stopClock();
    this.#abort.abort();
    await this.#work;
  }

  /** As the demand is now. Of masks for one variant and class: up to the first that is tolerated. */
  states(): readonly ProposalState[] {
    const { catalogue, fleet } = this.#parts;
    return slabDemands(fleet.view.values()).flatMap((demand) => {
      const variant = catalogue.variants.get(demand.variantId);
      const states = this.#proposalsFor(variant, demand).map((proposal) => this.#state(proposal));
      const found = states.findIndex(({ state }) => state === 'tolerated');
      return states.filter(({ proposal }, at) => proposal.kind === 'offload' || found < 0 || at <= found);
    });
  }

  /** Makes it a variant and begins its rollout. Throws `request.not-found`, `request.invalid`, and what these two throw. */
  async accept(id: string): Promise<RolloutRecord> {
    const found = this.states().find(({ proposal }) => proposal.id === id);
    if (found === undefined) {
      throw new FleetError('request.not-found', `there is no proposal ${JSON.stringify(id)}`, {
        hint: 'proposals come and go with what is asked: `fleetgate experts proposals` shows those of now',
      });
    }
    const { proposal, trial, state } = found;
    if (proposal.kind === 'prune' && state !== 'tolerated') {
      throw new FleetError(
        'request.invalid',
        state === 'open' ? `proposal ${id} is still being tried` : `proposal ${id} loses too much quality`,
        { hint: 'only what was shown to be tolerable is rolled out' },
      );
    }
    this.#accepted.add(id);
    const { demand, kind, slabs, serving } = proposal;
    const from = demand.variantId;
    const expert = this.#parts.catalogue.variants.get(from)?.expertId ?? '';
    const name = `${from.slice(0, MOST_NAME - 8)}-${kind === 'prune' ? 'k' : 'm'}${slabs}`;
    const how =
      kind === 'prune'
        ? `${slabs} slabs of each layer, those that ${demand.board} used`
        : `room for ${slabs} slabs of each layer`;
    const { adapters: _, ...own } = serving;
    const loss = kind === 'prune' ? lossOf(trial) : {};
    const variant = await this.#parts.addVariant(expert, { name, how, from, serving: own, loss });
    const boards = [demand.board];
    return this.#parts.rollOut({
      subject: { kind: 'variant', incumbent: from, candidate: variant.id },
      waves: [{ devices: { boards, count: 1 } }, { devices: { boards, percent: 100 } }],
    });
  }

  #proposalsFor(variant: Variant | undefined, demand: SlabDemand): readonly ResidencyProposal[] {
    if (variant === undefined) return [];
    const key = `${demand.variantId} ${demand.board}`;
    const known = this.#proposals.get(key);
    if (known !== undefined && known.length > 0 && known.every((one) => stillFits(one, demand))) return known;
    const proposals = proposeResidency(variant, demand);
    for (const { id } of known ?? []) this.#trials.delete(id);
    this.#proposals.set(key, proposals);
    return proposals;
  }

  #state(proposal: ResidencyProposal): ProposalState {
    const trial = this.#trials.get(proposal.id) ?? NO_TRIAL;
    if (proposal.kind === 'offload') return { proposal, trial, state: 'open' };
    const verdict = verdictOf(trial);
    return { proposal, trial, state: verdict === 'undecided' ? 'open' : verdict };
  }

  #look(): void {
    const { leading, log, isAutomatic } = this.#parts;
    if (this.#work !== undefined || this.#abort.signal.aborted || !leading.now()) return;
    const states = this.states();
    const next = states.find(({ proposal, state }) => proposal.kind === 'prune' && state === 'open');
    const ready = states.find(({ proposal, state }) => state === 'tolerated' && !this.#accepted.has(proposal.id));
    const work =
      next !== undefined
        ? this.#try(next.proposal)
        : isAutomatic && ready !== undefined
          ? this.accept(ready.proposal.id).then(() => {})
          : undefined;
    this.#work = work
      ?.catch((error: unknown) => {
        if (!this.#abort.signal.aborted) log.warn('pruning.failed', { reason: messageOf(error) });
      })
      .finally(() => {
        this.#work = undefined;
      });
  }

  async #try({ id, demand, serving }: ResidencyProposal): Promise<void> {
    const { catalogue, isIdle, score, log } = this.#parts;
    const variant = catalogue.variants.get(demand.variantId);
    if (variant === undefined || serving.slabMask === undefined) return;
    const prompts = await this.#parts.prompts(variant);
    for (let i = 0; i < AT_A_TIME && isIdle(variant.id); i++) {
      const trial = this.#trials.get(id) ?? NO_TRIAL;
      const probe = prompts.find((prompt) => !trial.asked.includes(prompt.id));
      if (probe === undefined || verdictOf(trial) !== 'undecided') return;
      const whole = await score(variant.id, probe, undefined, this.#abort.signal);
      const masked = await score(variant.id, probe, serving.slabMask, this.#abort.signal);
      const domain = probe.id.replace(/-\d+$/, '');
      this.#keep(id, withScore(trial, { prompt: probe.id, domain, whole, masked }));
    }
    const { lost } = this.#trials.get(id) ?? NO_TRIAL;
    log.debug('pruning.tried', { proposalId: id, prompts: lost.n, lost: lost.mean });
  }

  #keep(id: string, trial: MaskTrial): void {
    this.#trials.delete(id);
    this.#trials.set(id, trial);
    const [oldest] = this.#trials.keys();
    if (this.#trials.size > MOST_TRIALS && oldest !== undefined) this.#trials.delete(oldest);
  }
}
