import type { RequestView } from '@fleetgate/shared/api/operations';
import { FleetError } from '@fleetgate/shared/errors';
import type { DeviceId, ExpertId, RequestId } from '@fleetgate/shared/ids';
import type { JobOut, JobUsage } from '@fleetgate/shared/protocol/job';
import { elapsed, milliseconds } from '@fleetgate/shared/units/quantity';
import type { Subscription } from 'rxjs';

import { concurrencyOf, type Device } from '../fleet/device.js';
import { countAnswer, countJob, countRefusal } from './control/count-request.js';
import type { Chosen, Decision } from './decide.js';
import { decideRequest } from './decide-request.js';
import type { DispatcherParts } from './dispatcher-parts.js';
import { DispatchStats } from './dispatch-stats.js';
import { type ExpertJobs, expertLoads } from './expert-loads.js';
import { Hedges } from './hedges.js';
import { mayRetry } from './job-error.js';
import { JobRuns } from './job-runs.js';
import { asksHowSure, learnFromAnswer } from './learn-from-answer.js';
import { openRequest } from './open-request.js';
import { jobOf, type Prompt } from './prompt.js';
import { cancelledError, fullError, notKeptError, shuttingDownError, unknownModelError } from './refusal.js';
import type { JobRun, Request } from './request.js';
import type { Choice, RequestEvent } from './request-events.js';
import {
  actualCost,
  jobIdOf,
  recordDecision,
  recordEnd,
  recordPlace,
  recordSent,
  withOutcome,
} from './request-record.js';
import { canBeTakenOver } from './said-so-far.js';
import { heartbeatOf } from './silence.js';
import { steered } from './steer-request.js';
import { mayBeServedSoon } from './stranded.js';
import { isServed, turnOf } from './turn.js';

/** Until a request that nobody serves for the moment is decided again. */
const LOOK_AGAIN = milliseconds(1000);

/** A request that was taken. A refusal, too, comes as an event, its only one. */
export interface DispatchedRequest {
  readonly id: RequestId;
  /** To be read once, to its end; see `RequestEvents`. */
  readonly events: AsyncIterable<RequestEvent>;
  /** The decision record as it is now. */
  readonly record: () => RequestView;
  /** Chooses the token of a step of a `mix` prompt. */
  readonly proceed: (step: number, token: number) => void;
}

/** A request as it would be answered now; nothing was sent. */
export interface Consideration {
  readonly request: Request;
  readonly decision: Decision | FleetError;
}

/**
 * Carries prompts to experts and answers back.
 *
 * One loop: a request, a message of an agent, a change of the fleet, a deadline and a client that goes away are events,
 * each taken up synchronously; the only effects are on the link, the ledger and the request's own events. Every request
 * ends in exactly one terminal state.
 *
 * A job that fails is made again on another device; after the first token that one goes on after what was said, token for
 * token where it serves the same variant. Where none can soon, the request fails and the client is told in its stream.
 */
export class Dispatcher {
  readonly stats = new DispatchStats();
  readonly #parts: DispatcherParts;
  readonly #requests = new Map<RequestId, Request>();
  readonly #runs: JobRuns;
  readonly #hedges: Hedges;
  readonly #subscriptions: readonly Subscription[];
  #state: 'open' | 'draining' | 'closed' = 'open';

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
    this.#runs = new JobRuns(
      {
        ...parts,
        stats: this.stats,
        concurrencyOf: (id) => concurrencyOf(parts.fleet.view.get(id)),
        heartbeatOf: (id) => heartbeatOf(parts.fleet.view.get(id)),
      },
      {
        tokens: (run, out) => this.#onTokens(run, out),
        next: (run, out) => this.#onNext(run, out),
        vectors: ({ request }, vectors) => request.events.push({ kind: 'vectors', vectors }),
        choices: ({ request }, choices) => request.events.push({ kind: 'choices', choices }),
        ended: (run, out) => this.#onEnded(run, out),
        failed: (run, error, when) => this.#onJobFailed(run, error, when),
        usage: (run, usage) => this.#onUsage(run, usage),
        canMove: (run) => this.#canMove(run),
        prefers: ({ request }, device) => this.#prefers(request, device),
        isServed: ({ choice }) => isServed(this.#parts, choice),
        sent: (run) => this.#onSent(run),
        displaced: (run, why) => this.#onDisplaced(run, why),
      },
    );
    const { clock, config, policy } = parts;
    this.#hedges = new Hedges({
      ...{ clock, policy, stats: this.stats, runs: this.#runs },
      ...{ share: config.hedgeShare, maxAttempts: config.maxAttempts },
      decide: (request) => this.#decide(request),
      start: (request, decision) => this.#startJob(request, decision, { hedge: true }),
    });
    this.#subscriptions = [
      parts.link.out$.subscribe(({ deviceId, out }) => this.#runs.onOut(deviceId, out)),
      parts.fleet.changes$.subscribe((change) => this.#runs.onFleetChange(change)),
    ];
  }

  get isDraining(): boolean {
    return this.#state !== 'open';
  }

  /** Requests that have not ended. */
  get inFlight(): number {
    return this.#requests.size;
  }

  /** Jobs at devices, those told to stop included. */
  get jobsInFlight(): number {
    return this.#runs.size;
  }

  /** Jobs of each expert, as far as is known here. */
  expertLoads(): ReadonlyMap<ExpertId, ExpertJobs> {
    return expertLoads(this.#runs.all(), (id) => concurrencyOf(this.#parts.fleet.view.get(id)));
  }

  /** Whether a device has nothing to do, as far as is known here. */
  isIdle(device: Device): boolean {
    return this.#runs.loadOf(device).occupied === 0;
  }

  /** Ends in the ledger what a crash of the controller left running. To be called before the first request. */
  async start(): Promise<void> {
    const error = { code: 'controller.crashed', message: 'the controller ended while this request was under way' };
    const ended = await this.#parts.ledger.closeUnfinished(this.#parts.clock.now(), error);
    if (ended > 0) this.#parts.log.warn('request.ended-by-crash', { requests: ended });
  }

  /** Decides and sends at once. Aborting `signal` ends the request as cancelled and stops the device. Never throws. */
  accept(prompt: Prompt, signal?: AbortSignal): DispatchedRequest {
    return this.take(openRequest(this.#parts, prompt), signal);
  }

  /** As `accept` for a request that was considered just now, in the same synchronous stretch. */
  take(request: Request, signal?: AbortSignal, decision?: Decision | FleetError): DispatchedRequest {
    const { config } = this.#parts;
    this.stats.accepted += 1;
    const full = this.#requests.size >= config.maxInFlight;
    this.#requests.set(request.id, request);
    if (this.#isShutFor(request.prompt)) this.#fail(request, shuttingDownError());
    else if (this.#parts.ledger.hasRoom === false) this.#fail(request, notKeptError());
    else if (request.target === undefined) this.#fail(request, unknownModelError(request.prompt));
    else if (full) this.#fail(request, fullError(config.maxInFlight));
    else if (signal?.aborted === true) this.#fail(request, cancelledError(), 'cancelled');
    else {
      request.deadlines.start('request', config.requestTimeout, () => this.#onDeadline(request));
      if (signal !== undefined) this.#endOnAbort(request, signal);
      this.#next(request, undefined, decision);
    }
    return {
      id: request.id,
      events: request.events,
      record: () => request.record,
      proceed: (step, token) => {
        if (request.run !== undefined) this.#runs.proceed(request.run, step, token);
      },
    };
  }

  /** What would be decided of a prompt. It counts as demand, and is to be taken, or answered by calls of its own. */
  consider(prompt: Prompt): Consideration {
    const request = openRequest(this.#parts, prompt);
    const unknown = request.target === undefined ? unknownModelError(prompt) : undefined;
    const refused = this.#isShutFor(prompt) ? shuttingDownError() : unknown;
    return { request, decision: refused ?? this.#decide(request) };
  }

  /** Takes nothing new from now on; what is under way goes on, calls that it still makes included. */
  drain(): void {
    if (this.#state === 'open') this.#state = 'draining';
  }

  /** Fails what is under way and tells the devices; what comes next is taken. */
  failAll(error: FleetError): void {
    for (const request of this.#requests.values()) this.#fail(request, error);
  }

  /** Fails what is under way, tells the devices, and waits for the ledger. Idempotent. */
  async close(): Promise<void> {
    this.#state = 'closed';
    this.failAll(shuttingDownError());
    this.#runs.close();
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    await this.#parts.ledger.flush();
  }

  #isShutFor({ callOf }: Prompt): boolean {
    return this.#state === 'closed' || (this.#state === 'draining' && callOf === undefined);
  }

  #endOnAbort(request: Request, signal: AbortSignal): void {
    const onAbort = (): void => this.#fail(request, cancelledError(), 'cancelled');
    signal.addEventListener('abort', onAbort, { once: true });
    request.stopAbort = () => signal.removeEventListener('abort', onAbort);
  }

  /**
   * Sends the job. Where nothing can be chosen it waits if that may pass soon and the request was taken up, or ends with what
   * failed last or, before any attempt, with the refusal.
   */
  #next(request: Request, lastError: FleetError | undefined, considered?: Decision | FleetError): void {
    const attempts = request.record.attempts.length;
    if (lastError !== undefined && attempts >= this.#parts.config.maxAttempts) {
      this.#fail(request, lastError);
      return;
    }
    const { policy, steering } = this.#parts;
    const found = considered ?? this.#decide(request);
    const decision = request.counted ? found : steered(steering, request, found, policy());
    if (decision instanceof FleetError) {
      this.#fail(request, lastError ?? decision);
    } else if (decision.kind === 'refused') {
      const { clock, config, fleet } = this.#parts;
      const now = clock.now();
      const facts = { lastError, refused: decision, fleet: fleet.view, config, now };
      if (mayBeServedSoon(request, facts)) {
        request.strandedAt ??= now;
        request.deadlines.start('again', LOOK_AGAIN, () => this.#next(request, lastError));
        return;
      }
      if (attempts === 0) {
        request.record = recordDecision(request.record, decision.selection);
        countRefusal(this.#parts.control, request, decision.selection);
      }
      this.#fail(request, lastError ?? decision.error);
    } else {
      this.#send(request, decision);
    }
  }

  #decide(request: Request): Decision | FleetError {
    return decideRequest(this.#parts, this.#runs, request);
  }

  #send(request: Request, decision: Chosen): void {
    const { choice, selection } = decision;
    const isFirst = request.record.attempts.length === 0;
    if (!isFirst) this.stats.retried += 1;
    request.strandedAt = undefined;
    if (!request.said.isEmpty) this.stats.takenOver += 1;
    request.record = { ...recordDecision(request.record, selection), state: 'running', planId: choice.planId };
    request.events.push({ kind: 'chosen', choice });
    request.run = this.#startJob(request, decision, {});
    if (isFirst) this.#hedges.sent(request, selection.chosen?.candidate);
  }

  #startJob(request: Request, { selection, choice, predicted }: Chosen, how: { readonly hedge?: true }): JobRun {
    const { clock, config, ledger } = this.#parts;
    const now = clock.now();
    const { deviceId, variantId } = choice;
    const started = { deviceId, variantId, startedAtMs: now, outcome: 'running', ...how };
    request.record = { ...request.record, attempts: [...request.record.attempts, started] };
    ledger.put(request.record);
    const left = milliseconds(config.requestTimeout - elapsed(request.receivedAt, now));
    const { accepted } = this.stats;
    const asked = asksHowSure(this.#parts, request, accepted) ? { ...request.prompt, logProbs: true } : request.prompt;
    const classId = request.score?.abstained === undefined ? request.score?.classId : undefined;
    const job = jobOf(asked, {
      jobId: jobIdOf(request.id, request.record.attempts.length),
      variantId,
      timeout: left,
      classId,
      tokenIds: canBeTakenOver(asked),
      begun: request.said.begunFor(variantId),
    });
    countJob(this.#parts.control, request, selection, job.jobId);
    const run = this.#runs.start(request, choice, predicted, job, turnOf(this.#parts, request));
    const place = this.#runs.placeOf(run);
    if (place !== undefined) {
      request.record = recordPlace(request.record, place, selection);
      ledger.put(request.record);
    }
    return run;
  }

  #onSent({ request }: JobRun): void {
    request.record = recordSent(request.record, this.#parts.clock.now());
    this.#parts.ledger.put(request.record);
  }

  #prefers(request: Request, device: DeviceId): boolean {
    const decision = this.#decide(request);
    return !(decision instanceof FleetError) && decision.kind === 'chosen' && decision.choice.deviceId === device;
  }

  /** Nothing was sent: it is no attempt. */
  #onDisplaced({ attempt, jobId: job, request }: JobRun, why: string): void {
    if (request.ended) return;
    this.#parts.control?.withdraw(job);
    request.record = { ...request.record, attempts: request.record.attempts.filter((_, at) => at !== attempt) };
    this.#parts.log.debug('job.displaced', { jobId: job, why });
    this.#next(request, undefined);
  }

  #onTokens(run: JobRun, out: JobOut & { readonly kind: 'tokens' }): void {
    const { request, choice, heardAt } = run;
    this.#hedges.heard(run);
    request.firstTokenAt ??= heardAt;
    if (canBeTakenOver(request.prompt)) request.said.add(choice.variantId, out);
    request.events.push({ kind: 'tokens', text: out.text, tokens: out.tokens, choices: out.choices });
  }

  #onNext({ request, heardAt }: JobRun, out: JobOut & { readonly kind: 'next' }): void {
    request.firstTokenAt ??= heardAt;
    request.events.push({ kind: 'next', out });
  }

  #onEnded(run: JobRun, out: JobOut & { readonly kind: 'done' | 'scored' | 'embedded' }): void {
    const { request, choice } = run;
    const { clock, control } = this.#parts;
    control?.settle(run.jobId, out.usage);
    this.#hedges.heard(run);
    const usage = asOneAnswer(out.usage);
    if (out.kind === 'done') {
      learnFromAnswer(this.#parts, request, choice, out, clock.now());
      this.#parts.onAttempt?.({ ...choice, usage: out.usage });
    }
    const finishReason = out.kind === 'done' && out.finishReason === 'length' ? 'length' : 'stop';
    request.record = {
      ...withOutcome(request.record, 'succeeded', run.attempt),
      actual: actualCost(usage, request, clock.now()),
      finishReason: out.kind === 'done' ? finishReason : null,
    };
    countAnswer(control, request);
    const event = endOf(choice, finishReason, { ...out, usage });
    this.#end(request, 'succeeded', event);
  }

  #onJobFailed(run: JobRun, error: FleetError, when: 'before-first-token' | 'streaming'): void {
    const { request, choice } = run;
    this.#parts.onAttempt?.({ ...choice, failed: error.code });
    if (request.ended) return;
    request.record = withOutcome(request.record, error.code, run.attempt);
    request.tried.add(choice.deviceId);
    if (this.#hedges.goesOn(run) && mayRetry(error)) return;
    const isLost = when === 'streaming' && !request.said.canBeGoneOnWith(request.prompt);
    if (isLost || !mayRetry(error)) this.#fail(request, error);
    else this.#next(request, error);
  }

  /** Energy was spent also where no answer came of it. */
  #onUsage({ jobId: job, request }: JobRun, usage: JobUsage): void {
    this.#parts.control?.settle(job, usage);
    const { actual, endedAtMs } = request.record;
    const endedAt = endedAtMs ?? this.#parts.clock.now();
    // What another device has answered keeps its own figures.
    const isOver = request.ended && actual !== null;
    const sum = isOver ? { ...actual, energyJ: actual.energyJ + usage.energyJ } : actualCost(usage, request, endedAt);
    request.record = { ...request.record, actual: sum };
    if (request.ended) this.#parts.ledger.put(request.record);
  }

  #canMove({ request, choice, phase }: JobRun): boolean {
    if (request.record.attempts.length >= this.#parts.config.maxAttempts) return false;
    if (phase === 'streaming' && !request.said.canBeGoneOnWith(request.prompt)) return false;
    const decision = this.#decide({ ...request, tried: new Set([...request.tried, choice.deviceId]) });
    return !(decision instanceof FleetError) && decision.kind === 'chosen';
  }

  #onDeadline(request: Request): void {
    const waited = this.#parts.config.requestTimeout;
    this.#fail(request, new FleetError('dispatch.deadline', `the request did not end within ${waited} ms`));
  }

  #fail(request: Request, error: FleetError, as?: 'cancelled'): void {
    if (request.ended) return;
    const { run, record } = request;
    if (run !== undefined && run.phase !== 'abandoned' && run.phase !== 'ended') {
      const wasHeld = run.phase === 'held';
      if (wasHeld) this.#parts.control?.withdraw(run.jobId);
      request.record = withOutcome(record, wasHeld ? 'unsent' : error.code, run.attempt);
      this.#runs.abandon(run, error.code);
    }
    this.#hedges.stop(request, error.code);
    const state = as ?? (record.attempts.length === 0 && !request.counted ? 'refused' : 'failed');
    const why = record.why === '' ? `refused: ${error.message}` : record.why;
    request.record = { ...request.record, why, error: { code: error.code, message: error.message } };
    this.#end(request, state, { kind: 'failed', error });
  }

  /** The only way out of a request. */
  #end(request: Request, state: 'succeeded' | 'failed' | 'refused' | 'cancelled', event: RequestEvent): void {
    const { clock, ledger, log } = this.#parts;
    request.ended = true;
    request.deadlines.stopAll();
    request.stopAbort();
    this.#requests.delete(request.id);
    request.record = recordEnd(request.record, state, clock.now());
    this.stats[state] += 1;
    ledger.put(request.record);
    request.events.push(event);
    const { id, deviceId, variantId, error } = request.record;
    log[state === 'succeeded' ? 'debug' : 'info']('request.ended', {
      requestId: id,
      state,
      deviceId,
      variantId,
      code: error?.code,
    });
  }
}

/** The tokens of an answer, whoever gave them. */
function asOneAnswer(usage: JobUsage): JobUsage {
  const { resumedTokens = 0, promptTokens, outputTokens } = usage;
  if (resumedTokens === 0) return usage;
  return { ...usage, promptTokens: promptTokens - resumedTokens, outputTokens: outputTokens + resumedTokens };
}

function endOf(
  choice: Choice,
  finishReason: 'stop' | 'length',
  out: JobOut & { readonly kind: 'done' | 'scored' | 'embedded' },
): RequestEvent {
  const { usage } = out;
  if (out.kind === 'done') return { kind: 'done', choice, finishReason, usage, meanLogProb: out.meanLogProb };
  if (out.kind === 'embedded') return { kind: 'embedded', choice, usage };
  const { bits, bytes, promptBits, tokenBits } = out;
  return { kind: 'scored', choice, bits, bytes, usage, promptBits, tokenBits };
}
