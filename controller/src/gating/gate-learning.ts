import type { Clock } from '@fleetgate/shared/clock';
import { messageOf } from '@fleetgate/shared/errors';
import type { ExpertId, RequestId } from '@fleetgate/shared/ids';
import type { Logger } from '@fleetgate/shared/logger';
import { after, elapsed, milliseconds, type UnixMs } from '@fleetgate/shared/units/quantity';
import { z } from 'zod';

import type { ExpertFit } from './adaptation.js';
import type { Corrections } from './adapted-gate.js';
import { type Evidence, type EvidenceSource, outOfWindow } from './evidence.js';
import type { Answered, EvidenceSink, Observation } from './evidence-sink.js';
import {
  type Adaptation,
  adaptationSchema,
  emptyAdaptation,
  type LearningEvent,
  learningCycle,
} from './learning-cycle.js';
import type { LearningStore } from './learning-store.js';
import type { LearningWriter } from './learning-writer.js';
import { classShifts, isMaterial } from './material-change.js';
import { answerContext, evidenceOf, ratingOf } from './observation.js';

/** A batch is this many observations, or what has come after the longest time; never sooner than the shortest. */
const BATCH = 32;
const SHORTEST_WAIT = milliseconds(30_000);
const LONGEST_WAIT = milliseconds(5 * 60_000);
const LOOK = milliseconds(15_000);
const KEPT_EVENTS = 50;
const TICK = milliseconds(1);

const recordSchema = z.object({
  adaptation: adaptationSchema,
  events: z.array(z.custom<LearningEvent>(isEvent)).readonly(),
  revision: z.number().int().nonnegative(),
  /** Corrections that planning was last told of. */
  told: z.record(z.string(), z.number()),
});

export interface GateLearningParts {
  readonly store: LearningStore;
  readonly writer: LearningWriter;
  /** Tells which trained gate is scoring now. */
  readonly fingerprint: () => string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What a rating was counted for. */
export interface Rated {
  readonly expert: ExpertId;
  /** Whether it takes the place of an earlier one. */
  readonly replaced: boolean;
}

/**
 * Learns from use: collects evidence, and batch by batch lets `learningCycle` decide what goes live. The only writer of
 * the adaptation. Scoring reads `corrections()`; nothing here is awaited by a request.
 */
export class GateLearning implements EvidenceSink {
  readonly #parts: GateLearningParts;
  #evidence: readonly Evidence[];
  #record: LearningRecord;
  #corrections: Corrections;
  #fresh = 0;
  #batchSince: UnixMs;
  readonly #stop: () => void;

  private constructor(parts: GateLearningParts, evidence: readonly Evidence[], record: LearningRecord) {
    this.#parts = parts;
    this.#evidence = evidence;
    this.#record = record;
    this.#corrections = correctionsOf(record);
    this.#fresh = evidence.filter(({ at }) => at > record.adaptation.consideredAt).length;
    this.#batchSince = parts.clock.now();
    this.#stop = parts.clock.every(LOOK, () => this.#look());
  }

  /** Reads back what was learned; a record that cannot be used is set aside with a warning, and learning begins anew. */
  static async open(parts: GateLearningParts): Promise<GateLearning> {
    const { store, log } = parts;
    const { evidence, unreadable } = await store.loadEvidence();
    if (unreadable > 0) log.warn('gate.evidence-unreadable', { rows: unreadable });
    const stored = await store.loadState('adaptation');
    const parsed = stored === undefined ? undefined : recordSchema.safeParse(stored);
    if (parsed?.success === false) {
      log.warn('gate.learning-set-aside', { reason: z.prettifyError(parsed.error).slice(0, 200) });
      await store.setAside('adaptation');
    }
    const record = parsed?.data ?? { adaptation: emptyAdaptation(''), events: [], revision: 0, told: {} };
    return new GateLearning(parts, evidence, record);
  }

  get adaptation(): Adaptation {
    return this.#record.adaptation;
  }

  /** In order of time; at most a window of each source. */
  get evidence(): readonly Evidence[] {
    return this.#evidence;
  }

  /** Newest first. */
  get events(): readonly LearningEvent[] {
    return this.#record.events;
  }

  corrections(): Corrections {
    return this.#corrections;
  }

  answered(answer: Answered): void {
    const { writer, clock, fingerprint } = this.#parts;
    const context = answerContext(answer, clock.now(), fingerprint());
    if (context !== undefined) writer.keepContext(context);
    const { requestId: subject, expert, score, meanLogProb } = answer;
    if (meanLogProb === undefined) return;
    this.observe({ source: 'logprob', subject, expert, score, value: Math.exp(Math.min(0, meanLogProb)) });
  }

  observe(observation: Observation): void {
    const evidence = evidenceOf(observation, this.#now(), this.#parts.fingerprint());
    if (evidence !== undefined) this.#add(evidence);
  }

  /** Counts a client's rating (0..1) of an answer; undefined when the answer's context is not kept (any more). */
  async rate(requestId: RequestId, value: number): Promise<Rated | undefined> {
    const context = await this.#parts.writer.contextOf(requestId);
    if (context === undefined) return undefined;
    const replaced = this.#add(ratingOf(context, value, this.#now()));
    await this.#parts.writer.flush();
    return { expert: context.expert, replaced };
  }

  /** Observations of each source in the window. */
  counts(): Readonly<Record<EvidenceSource, number>> {
    const counts = { reference: 0, feedback: 0, agreement: 0, logprob: 0 };
    for (const { source } of this.#evidence) counts[source] += 1;
    return counts;
  }

  /** Learns from what has come since the last batch, now. */
  learn(): void {
    const { clock, log, writer, fingerprint } = this.#parts;
    const before = this.#record;
    const { adaptation, events, dropped } = learningCycle(
      this.#evidence,
      before.adaptation,
      fingerprint(),
      this.#now(),
    );
    this.#fresh = 0;
    this.#batchSince = clock.now();
    const shifts = classShifts(adaptation);
    const material = isMaterial(before.told, shifts);
    this.#record = {
      adaptation,
      events: [...events.toReversed(), ...before.events].slice(0, KEPT_EVENTS),
      revision: before.revision + (material ? 1 : 0),
      told: material ? shifts : before.told,
    };
    this.#corrections = correctionsOf(this.#record);
    for (const { kind, reason, ...figures } of events) {
      log[kind === 'gate.updated' ? 'info' : 'warn'](kind, { ...figures, reason });
    }
    if (dropped.length > 0) {
      const gone = new Set(dropped);
      this.#evidence = this.#evidence.filter(({ id }) => !gone.has(id));
      writer.dropEvidence(dropped);
    }
    writer.keepState('adaptation', this.#record);
  }

  close(): void {
    this.#stop();
  }

  /** Whether it takes the place of an earlier one. */
  #add(one: Evidence): boolean {
    const others = this.#evidence.filter(({ id }) => id !== one.id);
    const replaced = others.length < this.#evidence.length;
    const gone = outOfWindow(others, one.source);
    this.#evidence = [...others.filter((other) => other !== gone), one];
    this.#parts.writer.keepEvidence(one);
    if (gone !== undefined) this.#parts.writer.dropEvidence([gone.id]);
    this.#fresh += 1;
    this.#look();
    return replaced;
  }

  /** Later than everything observed so far: batches are told apart by time. */
  #now(): UnixMs {
    const now = this.#parts.clock.now();
    const last = this.#evidence.at(-1)?.at ?? now;
    return last < now ? now : after(last, TICK);
  }

  #look(): void {
    const waited = elapsed(this.#batchSince, this.#parts.clock.now());
    try {
      const due = this.#fresh >= BATCH ? SHORTEST_WAIT : LONGEST_WAIT;
      if (this.#fresh > 0 && waited >= due) this.learn();
    } catch (error) {
      this.#parts.log.error('gate.learning-failed', { reason: messageOf(error) });
    }
  }
}

type LearningRecord = z.infer<typeof recordSchema>;

function isEvent(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'kind' in value && 'expert' in value && 'at' in value;
}

function correctionsOf({ adaptation: { gate, experts }, revision }: LearningRecord): Corrections {
  const fits = Object.entries(experts).flatMap(([id, { fit }]): [ExpertId, ExpertFit][] =>
    fit === undefined ? [] : [[id as ExpertId, fit]],
  );
  return { gate, fits: new Map(fits), revision };
}
