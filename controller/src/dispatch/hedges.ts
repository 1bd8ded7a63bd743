import { FleetError } from '@fleetgate/shared/errors';
import type { Clock } from '@fleetgate/shared/clock';
import { elapsed, type UnixMs } from '@fleetgate/shared/units/quantity';

import type { Candidate } from './candidates.js';
import type { Chosen, Decision } from './decide.js';
import type { DispatchPolicy } from './dispatch-policy.js';
import type { DispatchStats } from './dispatch-stats.js';
import { HedgeAllowance, hedgeAfter, hedgeLimits, isWorthHedging, limitsLeft } from './hedge.js';
import type { JobRuns } from './job-runs.js';
import type { JobRun, Request } from './request.js';
import { withOutcome } from './request-record.js';

export interface HedgesParts {
  readonly share: number;
  readonly maxAttempts: number;
  readonly clock: Clock;
  readonly stats: DispatchStats;
  readonly policy: () => DispatchPolicy | undefined;
  readonly runs: Pick<JobRuns, 'abandon'>;
  readonly decide: (request: Request) => Decision | FleetError;
  /** Sends the job of a second attempt, and records it. */
  readonly start: (request: Request, decision: Chosen) => JobRun;
}

/**
 * Second jobs of requests whose first token is late: whichever device says something first answers, the other is stopped.
 *
 * The dispatcher says when a job was sent, has said something, or failed; a request has at most one second job.
 */
export class Hedges {
  readonly #parts: HedgesParts;
  readonly #allowance: HedgeAllowance;

  constructor(parts: HedgesParts) {
    this.#parts = parts;
    this.#allowance = new HedgeAllowance(parts.share);
  }

  /** A request's first job has been sent to `first`. */
  sent(request: Request, first: Candidate | undefined): void {
    const { prompt, score } = request;
    const { clock, policy, share } = this.#parts;
    if (share <= 0 || first?.cost === undefined || (prompt.input.kind !== 'chat' && prompt.input.kind !== 'complete'))
      return;
    this.#allowance.earn(first.cost.energy);
    const limits = hedgeLimits(prompt.limits, score && policy()?.limits.get(score.classId));
    const delay = hedgeAfter(first, limits.latency);
    if (delay === undefined) return;
    const sentAt = clock.now();
    request.deadlines.start('hedge', delay, () => this.#onLate(request, first, limits, sentAt));
  }

  /** `run` has said something: its request is answered by it. */
  heard(run: JobRun): void {
    const { request, choice } = run;
    request.deadlines.stop('hedge');
    const { run: first, rival } = request;
    if (rival === undefined || first === undefined) return;
    const loser = run === rival ? first : rival;
    request.run = run;
    request.rival = undefined;
    request.record = withOutcome(request.record, 'outrun', loser.attempt);
    this.#parts.runs.abandon(loser, 'outrun');
    if (run !== rival) return;
    this.#parts.stats.hedgesWon += 1;
    const { expertId, variantId, deviceId } = choice;
    request.record = { ...request.record, expertId, variantId, deviceId };
    request.events.push({ kind: 'chosen', choice });
  }

  /** `run` has failed: whether the other one goes on. */
  goesOn(run: JobRun): boolean {
    const { request } = run;
    const { run: first, rival } = request;
    if (rival === undefined) return false;
    request.run = run === rival ? first : rival;
    request.rival = undefined;
    if (run === rival || request.run === undefined) return true;
    const { expertId, variantId, deviceId } = rival.choice;
    request.record = { ...request.record, expertId, variantId, deviceId };
    request.events.push({ kind: 'chosen', choice: rival.choice });
    return true;
  }

  /** The request has ended: a second job has, too. */
  stop(request: Request, reason: string): void {
    const { rival } = request;
    if (rival === undefined) return;
    request.rival = undefined;
    request.record = withOutcome(request.record, reason, rival.attempt);
    this.#parts.runs.abandon(rival, reason);
  }

  #onLate(request: Request, first: Candidate, limits: ReturnType<typeof hedgeLimits>, sentAt: UnixMs): void {
    const { clock, decide, maxAttempts, start, stats } = this.#parts;
    const { run, record, prompt, tried, rival } = request;
    const isWaiting = run !== undefined && (run.phase === 'sent' || run.phase === 'accepted') && rival === undefined;
    if (request.ended || !isWaiting || record.attempts.length !== 1 || maxAttempts < 2) return;
    const left = limitsLeft(limits, elapsed(sentAt, clock.now()), first);
    const others = {
      tried: new Set([...tried, run.choice.deviceId]),
      prompt: { ...prompt, limits: { ...prompt.limits, ...left } },
    };
    const decision = decide({ ...request, ...others });
    if (decision instanceof FleetError || decision.kind !== 'chosen') return;
    const second = decision.selection.chosen?.candidate;
    if (second?.cost === undefined || !isWorthHedging(first, second) || !this.#allowance.take(second.cost.energy))
      return;
    stats.hedged += 1;
    request.rival = start(request, decision);
  }
}
