import type { RequestView } from '@fleetgate/shared/api/operations';
import type { Clock } from '@fleetgate/shared/clock';
import { FleetError, isFleetError, messageOf } from '@fleetgate/shared/errors';
import { expertId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import type { Random } from '@fleetgate/shared/random';
import type { Milliseconds } from '@fleetgate/shared/units/quantity';

import type { Catalogue } from '../../catalogue/catalogue.js';
import type { ConfidenceModel } from '../../gating/confidence.js';
import type { EvidenceSink } from '../../gating/evidence-sink.js';
import type { CostEstimator } from '../../telemetry/cost.js';
import type { Decision } from '../decide.js';
import type { Consideration, DispatchedRequest, Dispatcher } from '../dispatcher.js';
import type { Ledger } from '../ledger.js';
import { collaborationOf, VIRTUAL_MODELS } from '../model-target.js';
import { type Collaboration, neededAbilities, type Prompt } from '../prompt.js';
import { cancelledError, fullError } from '../refusal.js';
import type { RequestEvent } from '../request-events.js';
import { actualCost, recordDecision, recordEnd } from '../request-record.js';
import { AnswerRoom, type JointAnswer, type JointScore, type Scored, type ScoreInput } from './answer-room.js';
import { answerByBrief } from './answer-by-brief.js';
import { answerByCascade } from './answer-by-cascade.js';
import { answerByEnsemble } from './answer-by-ensemble.js';
import { answerByVote } from './answer-by-vote.js';
import { jointCost } from './joint-cost.js';
import { type Member, membersOf } from './members.js';
import { scoreByEnsemble } from './score-by-ensemble.js';
import { questionOf, scoreByBrief, scoreByCascade } from './score-in-turn.js';
import { JointCostModel, worthwhile } from './worthwhile.js';

export interface CollaboratorParts {
  readonly dispatcher: Pick<Dispatcher, 'accept' | 'consider' | 'take'>;
  readonly catalogue: () => Catalogue;
  readonly costs: CostEstimator;
  readonly confidence: ConfidenceModel;
  /** Told what can be learned from; undefined: nothing is. */
  readonly evidence?: EvidenceSink;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Calls that one request may make, whatever the client allows. */
  readonly maxCalls: number;
  /** Requests that several experts answer at once; the next one is answered 429. */
  readonly maxInFlight: number;
  /** From a request's arrival to its end. */
  readonly requestTimeout: Milliseconds;
}

export const COLLABORATION_DEFAULTS = Object.freeze({ maxCalls: 8, maxInFlight: 32 });

/**
 * Answers prompts with several experts: takes the same requests as the dispatcher, hands on what one expert answers, and
 * makes of the rest calls of its own, each an ordinary request. However a request ends, its calls end with it.
 */
export class Collaborator {
  readonly #parts: CollaboratorParts;
  readonly #costs = new JointCostModel();
  readonly #open = new Map<AbortController, Promise<void>>();

  constructor(parts: CollaboratorParts) {
    this.#parts = parts;
  }

  /** As `Dispatcher.accept`. */
  accept(prompt: Prompt, signal?: AbortSignal): DispatchedRequest {
    const { dispatcher } = this.#parts;
    const asked = collaborationOf(prompt);
    if (asked === undefined && !mayCollaborate(prompt)) return dispatcher.accept(prompt, signal);
    const { request, decision } = dispatcher.consider(asked === undefined ? prompt : asAnswered(asked, prompt));
    const how = asked ?? this.#worthwhile(request, decision);
    if (how === undefined) return dispatcher.take(request, signal, decision);
    request.record = { ...request.record, mode: how, collaboration: { how, quality: null, calls: [] } };
    if (decision instanceof FleetError) this.#refuse(request, decision);
    else {
      request.record = recordDecision(request.record, decision.selection);
      if (decision.kind === 'refused') this.#refuse(request, decision.error);
      else if (this.#open.size >= this.#parts.maxInFlight) this.#refuse(request, fullError(this.#parts.maxInFlight));
      else if (signal?.aborted === true) this.#refuse(request, cancelledError());
      else this.#start(how, prompt, request, decision, signal);
    }
    return { id: request.id, events: request.events, record: () => request.record, proceed: () => {} };
  }

  /** Requests that several experts answer now. */
  get inFlight(): number {
    return this.#open.size;
  }

  /** Ends what is under way and waits for it. */
  async close(): Promise<void> {
    for (const abort of this.#open.keys()) abort.abort();
    await Promise.all(this.#open.values());
  }

  /** The way of answering together that a request is worth where it leaves that open. */
  #worthwhile(request: Consideration['request'], decision: Consideration['decision']): Collaboration | undefined {
    if (decision instanceof FleetError || decision.kind === 'refused' || this.#open.size >= this.#parts.maxInFlight) {
      return undefined;
    }
    const { confidence, maxCalls } = this.#parts;
    const { limits } = request.prompt;
    const members = membersOf(decision.selection);
    const allowance = { ...limits, calls: Math.min(limits.calls ?? maxCalls, maxCalls) };
    const { variants } = this.#parts.catalogue();
    return worthwhile({
      members,
      score: request.score,
      prices: decision.selection.prices,
      mode: request.target?.mode === 'best' ? 'best' : 'auto',
      confidenceOf: ({ expertId }) => confidence.of(expertId),
      costOf: (how) => {
        const cost = jointCost(how, members, variants, allowance);
        return cost === undefined ? undefined : { ...cost, energyJ: cost.energyJ * this.#costs.ratio(how) };
      },
    });
  }

  #start(
    how: Collaboration,
    prompt: Prompt,
    request: Consideration['request'],
    { selection, choice }: Decision & { readonly kind: 'chosen' },
    signal?: AbortSignal,
  ): void {
    const { clock, ledger, requestTimeout } = this.#parts;
    const abort = new AbortController();
    const end = (): void => abort.abort();
    signal?.addEventListener('abort', end, { once: true });
    let late = false;
    const cancelTimer = clock.after(requestTimeout, () => {
      late = true;
      abort.abort();
    });
    request.record = { ...request.record, state: 'running', planId: choice.planId };
    ledger.put(request.record);
    const room = new AnswerRoom(this.#parts, prompt, request, choice.planId, abort.signal);
    const work = answerBy(how, room, membersOf(selection))
      .then((event) => this.#succeed(request, event))
      .catch((error: unknown) => this.#fail(request, late ? lateError(requestTimeout) : errorOf(error), abort.signal))
      .finally(() => {
        cancelTimer();
        signal?.removeEventListener('abort', end);
        abort.abort();
        this.#open.delete(abort);
      });
    this.#open.set(abort, work);
  }

  #succeed(request: Consideration['request'], joint: Joint): void {
    const { choice, why, quality, event } = joint;
    const { record } = request;
    const how = record.collaboration?.how;
    if (how !== undefined && event.kind === 'done') {
      this.#costs.observe(how, event.usage.energyJ, record.predicted?.energyJ ?? 0);
    }
    const finishReason = event.kind === 'done' ? event.finishReason : null;
    request.record = {
      ...record,
      ...{ expertId: choice.expertId, variantId: choice.variantId, deviceId: choice.deviceId, planId: choice.planId },
      why,
      finishReason,
      actual: actualCost(event.usage, { ...request, record: { ...record, actual: null } }, this.#parts.clock.now()),
      ...(record.collaboration === undefined ? {} : { collaboration: { ...record.collaboration, quality } }),
    };
    this.#end(request, 'succeeded', event);
    // What the members of an ensemble or a brief made together is the work of none of them.
    const author = how === 'ensemble' || how === 'brief' ? expertId(how) : choice.expertId;
    if (request.score === undefined || event.kind !== 'done') return;
    this.#parts.evidence?.answered({ requestId: request.id, expert: author, score: request.score });
  }

  #fail(request: Consideration['request'], error: FleetError, signal: AbortSignal): void {
    const isCancelled = signal.aborted && error.code === 'job.cancelled';
    request.record = { ...request.record, error: { code: error.code, message: error.message } };
    this.#end(request, isCancelled ? 'cancelled' : 'failed', { kind: 'failed', error });
  }

  #refuse(request: Consideration['request'], error: FleetError): void {
    const { code, message } = error;
    request.record = { ...request.record, why: `refused: ${message}`, error: { code, message } };
    this.#end(request, code === 'job.cancelled' ? 'cancelled' : 'refused', { kind: 'failed', error });
  }

  #end(request: Consideration['request'], state: RequestView['state'], event: RequestEvent): void {
    const { clock, ledger, log } = this.#parts;
    request.ended = true;
    request.record = recordEnd(request.record, state, clock.now());
    ledger.put(request.record);
    request.events.push(event);
    log.debug('request.ended', { requestId: request.id, state, mode: request.record.mode });
  }
}

/** Whether a prompt leaves it open how many experts answer, and can be answered by several. */
function mayCollaborate(prompt: Prompt): boolean {
  const { model, mode, input, limits, callOf } = prompt;
  if (callOf !== undefined || limits.calls === 1 || (input.kind !== 'chat' && input.kind !== 'complete')) return false;
  if (neededAbilities(prompt).length > 0) return false;
  const of = mode ?? VIRTUAL_MODELS.get(model)?.mode;
  return VIRTUAL_MODELS.has(model) && (of === 'auto' || of === 'best');
}

/**
 * What is decided about. Whoever asks for a cascade wants to save: joules have a price in it also where no budget binds.
 * And a given answer is scored under the experts that would have been asked to write one.
 */
function asAnswered(how: Collaboration, prompt: Prompt): Prompt {
  const priced: Prompt = how === 'cascade' ? { ...prompt, mode: prompt.mode ?? 'eco' } : prompt;
  if (prompt.input.kind !== 'score' || how === 'ensemble') return priced;
  const sampling = { ...prompt.sampling, maxTokens: TYPICAL_TOKENS };
  return { ...priced, input: questionOf(prompt.input), sampling };
}

/** Of an answer that is weighed as if it were written, tokens. */
const TYPICAL_TOKENS = 128;

/** A joint answer with the event that ends it. */
type Joint = Pick<JointAnswer, 'choice' | 'why' | 'quality'> & {
  readonly event: (RequestEvent & { readonly kind: 'done' }) | Scored;
};

async function answerBy(how: Collaboration, room: AnswerRoom, members: readonly Member[]): Promise<Joint> {
  const { input } = room.prompt;
  if (input.kind === 'score') return scoreTogether(how, room, members, input);
  const joint = await answerTogether(how, room, members);
  const { choice, finishReason, usage } = joint;
  return { ...joint, event: { kind: 'done', choice, finishReason, usage } };
}

function answerTogether(how: Collaboration, room: AnswerRoom, members: readonly Member[]): Promise<JointAnswer> {
  switch (how) {
    case 'cascade':
      return answerByCascade(room, members);
    case 'ensemble':
      return answerByEnsemble(room, members);
    case 'vote':
      return answerByVote(room, members);
    case 'brief':
      return answerByBrief(room, members);
  }
}

function scoreTogether(
  how: Collaboration,
  room: AnswerRoom,
  members: readonly Member[],
  input: ScoreInput,
): Promise<JointScore> {
  switch (how) {
    case 'cascade':
      return scoreByCascade(room, members, input);
    case 'ensemble':
      return scoreByEnsemble(room, members, input);
    case 'brief':
      return scoreByBrief(room, members, input);
    case 'vote':
      throw new FleetError('request.invalid', 'model: a vote has no log-likelihood of a given answer', {
        hint: 'score with ensemble, cascade, brief, auto, or an expert',
        context: { param: 'model' },
      });
  }
}

function errorOf(error: unknown): FleetError {
  if (isFleetError(error)) return error;
  return new FleetError('internal.invariant', messageOf(error), { cause: error });
}

function lateError(waited: Milliseconds): FleetError {
  return new FleetError('dispatch.deadline', `the request did not end within ${waited} ms`);
}
