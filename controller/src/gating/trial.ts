import type { ExpertId } from '@fleetgate/shared/ids';
import { z } from 'zod';

/** Labelled prompts that an expert is scored on before it serves. */
export const SHOTS = 24;
/** What enrolling one expert may use, above idle. */
export const MOST_JOULES = 500;
/** Shots that fail one after the other before enrolling is given up. */
const MOST_FAILURES = 5;

/** How the enrolment of one expert stands; kept over restarts. */
export const trialSchema = z.object({
  /** Quality by shot. */
  shots: z.record(z.string(), z.number().min(0).max(1)),
  energyJ: z.number().nonnegative(),
  failures: z.number().int().nonnegative(),
  /** The trained gate that the shots were last told to. */
  gate: z.string(),
  /** Whether a person asked for it, whatever is known of the expert. */
  asked: z.boolean(),
});
export type Trial = Readonly<z.infer<typeof trialSchema>>;
export const trialsSchema = z.record(z.string(), trialSchema);

/** What is known of an expert besides its trial. */
export interface TrialFacts {
  readonly id: ExpertId;
  /** Whether the gate was trained on it, or its card has measured figures: then it serves without a trial. */
  readonly isKnown: boolean;
  /** Whether a correction of it is in use. */
  readonly isCorrected: boolean;
}

/**
 * enrolling: answers only who asks for it by name. probation: `auto` may explore with it, within the bound.
 * serving: `auto` chooses it like any other.
 */
export type ServiceState = 'enrolling' | 'probation' | 'serving';

export function newTrial(gate: string, asked: boolean): Trial {
  return { shots: {}, energyJ: 0, failures: 0, gate, asked };
}

/** Whether there is something left to score, within what it may use. */
export function isOpen(trial: Trial, shots: number): boolean {
  return Object.keys(trial.shots).length < shots && trial.energyJ < MOST_JOULES && trial.failures < MOST_FAILURES;
}

/** State of an expert; `shots` is how many there are for it: 0 where there are no labelled prompts, so that it has to be believed. */
export function serviceState(
  { isKnown, isCorrected }: TrialFacts,
  trial: Trial | undefined,
  shots: number,
): ServiceState {
  if (isKnown || isCorrected || shots === 0) return 'serving';
  return trial === undefined || isOpen(trial, shots) ? 'enrolling' : 'probation';
}

/** Why a trial ended before its last shot; undefined where it did not. */
export function endedBecause(trial: Trial, shots: number): string | undefined {
  if (Object.keys(trial.shots).length >= shots) return undefined;
  if (trial.energyJ >= MOST_JOULES) return `it has used the ${MOST_JOULES} J that enrolling may`;
  return trial.failures >= MOST_FAILURES ? `${MOST_FAILURES} shots in a row failed` : undefined;
}
