import { z } from 'zod';

import { sha256Schema } from '@fleetgate/shared/catalogue/sha256';

/** A program that was unpacked on this device: its folder is its digest. */
export const programSchema = z.object({
  name: z.string().max(127),
  sequence: z.number().int().positive(),
  sha256: sha256Schema,
});
export type Program = z.infer<typeof programSchema>;

/** Programs that did badly are remembered so that none is tried again; the oldest are forgotten. */
const MOST_FAILED = 50;

export const launchStateSchema = z.object({
  schema: z.literal('fleetgate-launch/1'),
  /** What runs first, then what it falls back to. Below the last is the installed program, which is never given up. */
  stack: z.array(programSchema).max(2),
  /** Whether the first has yet to prove itself. */
  onTrial: z.boolean(),
  /** Starts of the first since it last did well. */
  starts: z.number().int().nonnegative(),
  failed: z.array(programSchema.extend({ reason: z.string().max(300) })).max(MOST_FAILED),
});
export type LaunchState = z.infer<typeof launchStateSchema>;

/**
 * How often a program may be started without doing well before it is given up. One that has proven itself is allowed more:
 * it may lack nothing but its controller, and be switched off meanwhile.
 */
export const MOST_STARTS = { trial: 3, proven: 10 };

export const FIRST_STATE: LaunchState = {
  schema: 'fleetgate-launch/1',
  stack: [],
  onTrial: false,
  starts: 0,
  failed: [],
};

export const isSameProgram = (one: Program, other: Program): boolean =>
  one.name === other.name && one.sequence === other.sequence && one.sha256 === other.sha256;

/** Whether a program is to be put on trial: neither there already nor given up before. */
export function isNew({ stack, failed }: LaunchState, program: Program): boolean {
  return ![...stack, ...failed].some((known) => isSameProgram(known, program));
}

/** Puts a new program on trial, above the newest that has proven itself. One that is not new changes nothing. */
export function onOffer(state: LaunchState, program: Program): LaunchState {
  if (!isNew(state, program)) return state;
  const proven = state.onTrial ? state.stack.slice(1) : state.stack.slice(0, 1);
  return { ...state, stack: [program, ...proven], onTrial: true, starts: 0 };
}

/**
 * Counts a start that is about to be made, after giving up a program that has had its starts. To be kept durably before the
 * start: a program that takes the whole machine down is counted, too.
 */
export function onStart(state: LaunchState): LaunchState {
  const most = state.onTrial ? MOST_STARTS.trial : MOST_STARTS.proven;
  const next = state.starts >= most ? giveUp(state, `started ${state.starts} times without doing well`) : state;
  // The installed program is started however often it takes.
  return next.stack.length === 0 ? next : { ...next, starts: next.starts + 1 };
}

/** The first has done well for as long as a trial takes. */
export function onProven(state: LaunchState): LaunchState {
  return { ...state, onTrial: false, starts: 0 };
}

/** It was told to stop: that start says nothing about it. */
export function onStopped(state: LaunchState): LaunchState {
  return { ...state, starts: Math.max(0, state.starts - 1) };
}

/** Falls back to what is below the first. Without one nothing changes: the installed program is all there is. */
export function giveUp(state: LaunchState, reason: string): LaunchState {
  const [first, ...below] = state.stack;
  if (first === undefined) return state;
  const failed = [...state.failed, { ...first, reason: reason.slice(0, 300) }].slice(-MOST_FAILED);
  return { ...state, stack: below, onTrial: false, starts: 0, failed };
}
