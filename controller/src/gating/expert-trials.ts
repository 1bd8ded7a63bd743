import { messageOf } from '@fleetgate/shared/errors';
import type { ExpertId } from '@fleetgate/shared/ids';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { Gate } from './gate.js';
import { chooseShots, type LabelledPrompt, shotSubject } from './k-shot.js';
import type { LearningStore } from './learning-store.js';
import {
  endedBecause,
  isOpen,
  newTrial,
  type ServiceState,
  serviceState,
  SHOTS,
  type Trial,
  type TrialFacts,
  trialsSchema,
} from './trial.js';
import type { ExpertTrialParts } from './trial-parts.js';

/** Between two shots: enrolling is in no hurry. */
const LOOK = milliseconds(1000);

/** How one expert stands. */
export interface TrialView {
  readonly expert: ExpertId;
  readonly state: ServiceState;
  readonly done: number;
  readonly of: number;
  readonly energyJ: number;
  /** What it waits for, or why it ended early. */
  readonly reason: string | undefined;
}

/**
 * K-shot enrolment ("Leveraging Open Knowledge"): an expert that nothing is known of is scored on a few labelled prompts, chosen
 * for diversity, before `auto` may choose it. One shot at a time, on idle devices only. The only writer of trials.
 */
export class ExpertTrials {
  readonly #parts: ExpertTrialParts;
  #trials: Readonly<Record<string, Trial>>;
  #shots: readonly LabelledPrompt[] | undefined;
  #shotsOf = '';
  #isLoading = false;
  #running: ExpertId | undefined;
  #onTrial: ReadonlySet<ExpertId> = new Set();
  #onProbation: ReadonlySet<ExpertId> = new Set();
  readonly #abort = new AbortController();
  readonly #stop: () => void;
  #work: Promise<void> = Promise.resolve();

  private constructor(parts: ExpertTrialParts, trials: Readonly<Record<string, Trial>>) {
    this.#parts = parts;
    this.#trials = trials;
    this.#stop = parts.clock.every(LOOK, () => this.#look());
    this.#survey();
  }

  /** Reads back how trials stood; a record that cannot be used is set aside with a warning. */
  static async open(parts: ExpertTrialParts, store: LearningStore): Promise<ExpertTrials> {
    const stored = await store.loadState('trials');
    const parsed = stored === undefined ? undefined : trialsSchema.safeParse(stored);
    if (parsed?.success === false) {
      parts.log.warn('gate.trials-set-aside', { reason: parsed.error.issues[0]?.message });
      await store.setAside('trials');
    }
    return new ExpertTrials(parts, parsed?.data ?? {});
  }

  /** Experts that `auto` may not choose by itself: enrolling, or on probation. */
  onTrial(): ReadonlySet<ExpertId> {
    return this.#onTrial;
  }

  onProbation(): ReadonlySet<ExpertId> {
    return this.#onProbation;
  }

  /** Scores an expert anew, whatever is known of it. */
  enrol(expert: ExpertId): TrialView | undefined {
    const facts = this.#parts.facts().find(({ id }) => id === expert);
    if (facts === undefined) return undefined;
    this.#put(expert, newTrial(this.#parts.fingerprint(), true));
    return this.#viewOf(facts);
  }

  views(): readonly TrialView[] {
    return this.#parts.facts().map((facts) => this.#viewOf(facts));
  }

  async close(): Promise<void> {
    this.#stop();
    this.#abort.abort();
    await this.#work;
  }

  #viewOf(facts: TrialFacts): TrialView {
    const { id: expert } = facts;
    const trial = this.#trials[expert];
    const of = this.#shots?.length ?? SHOTS;
    const state = serviceState(facts, trial, of);
    const open = this.#isWanted(facts);
    const waits = open && this.#running !== expert ? this.#parts.obstacle(expert) : undefined;
    return {
      expert,
      state,
      done: Object.keys(trial?.shots ?? {}).length,
      of,
      energyJ: trial?.energyJ ?? 0,
      reason: of === 0 ? 'there are no labelled prompts' : (waits ?? (trial && endedBecause(trial, of))),
    };
  }

  #look(): void {
    const { gate, obstacle, log } = this.#parts;
    const trained = gate();
    if (trained === undefined || this.#running !== undefined) return;
    const leads = this.#parts.leads?.() !== false;
    if (leads) this.#retell(trained);
    this.#survey();
    if (!leads) return;
    const wanted = this.#parts.facts().filter((facts) => this.#isWanted(facts));
    if (wanted.length === 0) return;
    const shots = this.#shotsFor(trained);
    const next = wanted.find(({ id }) => obstacle(id) === undefined);
    if (shots === undefined || next === undefined) return;
    const shot = shots.find(({ id }) => this.#trials[next.id]?.shots[id] === undefined);
    if (shot === undefined) return;
    if (this.#trials[next.id] === undefined) log.info('expert.enrolling', { expertId: next.id, shots: shots.length });
    this.#running = next.id;
    this.#work = this.#score(next.id, shot, trained).finally(() => {
      this.#running = undefined;
    });
  }

  #isWanted({ id, isKnown, isCorrected }: TrialFacts): boolean {
    const trial = this.#trials[id];
    const isDue = trial?.asked === true || (!isKnown && !isCorrected);
    return isDue && (trial === undefined || isOpen(trial, this.#shots?.length ?? SHOTS));
  }

  /** The shots for the gate as it is; undefined while they are being read. */
  #shotsFor(gate: Gate): readonly LabelledPrompt[] | undefined {
    const fingerprint = this.#parts.fingerprint();
    if (this.#shotsOf === fingerprint) return this.#shots;
    if (this.#isLoading) return undefined;
    this.#isLoading = true;
    void this.#parts
      .prompts()
      .then((prompts) => {
        const placed = prompts.map((labelled) => {
          const { classId, embedding } = gate.score(labelled.prompt);
          return { ...labelled, classId, embedding };
        });
        this.#shots = chooseShots(placed, SHOTS);
        this.#shotsOf = fingerprint;
      })
      .catch((error: unknown) => this.#parts.log.error('gate.shots-failed', { reason: messageOf(error) }))
      .finally(() => {
        this.#isLoading = false;
      });
    return undefined;
  }

  async #score(expert: ExpertId, shot: LabelledPrompt, gate: Gate): Promise<void> {
    const { fingerprint, learn, log, score, sink } = this.#parts;
    const before = this.#trials[expert] ?? newTrial(fingerprint(), false);
    try {
      const { bits, bytes, energyJ } = await score(expert, shot, this.#abort.signal);
      const value = 2 ** (-bits / Math.max(1, bytes));
      sink.observe({
        source: 'reference',
        subject: shotSubject(shot.id),
        expert,
        score: gate.score(shot.prompt),
        value,
      });
      const shots = { ...before.shots, [shot.id]: value };
      const after: Trial = { ...before, shots, energyJ: before.energyJ + energyJ, failures: 0 };
      this.#put(expert, after);
      if (isOpen(after, this.#shots?.length ?? SHOTS)) return;
      learn();
      log.info('expert.enrolled', { expertId: expert, shots: Object.keys(shots).length, energyJ: after.energyJ });
      this.#survey();
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      log.warn('expert.shot-failed', { expertId: expert, shot: shot.id, reason: messageOf(error) });
      const now = this.#trials[expert] ?? before;
      this.#put(expert, { ...now, failures: now.failures + 1 });
    }
  }

  /** What was scored stays true when the gate is trained anew: it is told again, as the new gate sees the prompts. */
  #retell(gate: Gate): void {
    const { fingerprint, prompts, sink } = this.#parts;
    const now = fingerprint();
    const stale = Object.entries(this.#trials).filter(([, trial]) => trial.gate !== now);
    if (stale.length === 0) return;
    for (const [expert, trial] of stale) this.#put(expert as ExpertId, { ...trial, gate: now });
    this.#work = prompts()
      .then((all) => {
        const byId = new Map(all.map((labelled) => [labelled.id, labelled.prompt]));
        for (const [expert, { shots }] of stale) {
          for (const [id, value] of Object.entries(shots)) {
            const prompt = byId.get(id);
            if (prompt === undefined) continue;
            const score = gate.score(prompt);
            sink.observe({ source: 'reference', subject: shotSubject(id), expert: expert as ExpertId, score, value });
          }
        }
      })
      .catch((error: unknown) => this.#parts.log.error('gate.shots-failed', { reason: messageOf(error) }));
  }

  #put(expert: ExpertId, trial: Trial): void {
    this.#trials = { ...this.#trials, [expert]: trial };
    this.#parts.keep(this.#trials);
  }

  /** Scoring asks for these at every request: they are worked out when something may have changed. */
  #survey(): void {
    const of = this.#shotsOf === '' ? SHOTS : (this.#shots?.length ?? SHOTS);
    const isScoring = this.#parts.gate() !== undefined;
    const states = isScoring
      ? this.#parts.facts().map((facts) => [facts.id, serviceState(facts, this.#trials[facts.id], of)] as const)
      : [];
    const ids = (...wanted: readonly ServiceState[]): ReadonlySet<ExpertId> =>
      new Set(states.filter(([, state]) => wanted.includes(state)).map(([id]) => id));
    this.#onTrial = ids('enrolling', 'probation');
    this.#onProbation = ids('probation');
  }
}
