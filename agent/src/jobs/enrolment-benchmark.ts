import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { DesiredVariant, Measurement } from '@fleetgate/shared/protocol/twin';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { Engine, GenerateResult, LoadedModel } from '../engine/engine.js';
import type { JobEnergy } from './job-energy.js';

/** Ends the benchmark of a big model on a slow board; what was measured by then counts. */
const DEADLINE = milliseconds(30_000);
const REPETITIONS = 3;
const MOST_REPETITIONS = 9;
/** A fast engine repeats until this much time has gone by: what else the device does for a moment then weighs little. */
const ENOUGH_TIME = milliseconds(800);
/** Output tokens to have seen before the decode rate is believed. */
const ENOUGH_TOKENS = 48;
const OUTPUT_TOKENS = 32;
const PROMPT_WORDS = 160;
const LEAST_MS = 1e-3;
/** Standard deviations of a normal distribution per median absolute deviation. */
const NORMAL_PER_MAD = 1.4826;
/** Assumed where one repetition was all there was time for. */
const UNKNOWN_RELATIVE_SD = 0.3;

const WORDS =
  'the river carries small stones past old houses while people count numbers and write short letters about work weather food music and time'.split(
    ' ',
  );

interface Repetition extends GenerateResult {
  /** Those evaluated: measured again, an engine may have kept some. */
  readonly promptTokens: number;
  readonly wallMs: number;
}

/**
 * Measures a resident variant: prefill and decode speed, energy, overhead.
 *
 * One warm-up, then three to nine generations, each with a prompt that begins differently, so that no engine can reuse
 * the last one's cache. Speeds are medians over them: one that something else disturbed does not count. Energy is split
 * between prefill and decode by their time: no board sensor is faster than that.
 * Throws what the engine throws, and `engine.timeout` when not one repetition ended within half a minute.
 */
export async function measureVariant(
  variant: DesiredVariant,
  loaded: LoadedModel,
  { engine, energy, clock }: { readonly engine: Engine; readonly energy: JobEnergy; readonly clock: Clock },
  signal: AbortSignal,
): Promise<Measurement> {
  const deadline = new AbortController();
  const cancel = clock.after(DEADLINE, () => deadline.abort());
  const both = AbortSignal.any([signal, deadline.signal]);
  const account = `benchmark ${variant.variantId}`;
  try {
    await repetition(variant, engine, clock, both, 0);
    const done: Repetition[] = [];
    energy.start(account);
    const begun = clock.now();
    for (let i = 1; i <= MOST_REPETITIONS; i++) {
      const one = await repetition(variant, engine, clock, both, i);
      if (one.finishReason === 'cancelled') break;
      done.push(one);
      const isEnough = total(done, 'outputTokens') >= ENOUGH_TOKENS && clock.now() - begun >= ENOUGH_TIME;
      if (i >= REPETITIONS && isEnough) break;
    }
    const used = energy.stop(account);
    if (signal.aborted) throw new FleetError('engine.unavailable', 'the benchmark was abandoned', { retryable: true });
    return summarise(variant, loaded, done, used, clock);
  } finally {
    cancel();
    energy.stop(account);
  }
}

async function repetition(
  variant: DesiredVariant,
  engine: Engine,
  clock: Clock,
  signal: AbortSignal,
  n: number,
): Promise<Repetition> {
  // Half of the context at most, at up to four tokens a word for a tiny vocabulary.
  const words = Math.max(8, Math.min(PROMPT_WORDS, Math.floor(variant.contextTokens / 8)));
  const prompt = Array.from({ length: words }, (_, i) => WORDS[(i * (n + 1) + n * 7) % WORDS.length]).join(' ');
  const maxTokens = Math.max(1, Math.min(OUTPUT_TOKENS, Math.floor(variant.contextTokens / 8)));
  const sampling = { maxTokens, temperature: 1, topP: 1, seed: n, stop: [] };
  const startedAt = clock.now();
  const input = { kind: 'complete', prompt: `${n} ${prompt}` } as const;
  const result = await engine.generate(variant.variantId, input, sampling, () => {}, signal);
  const promptTokens = result.promptTokens - (result.reusedTokens ?? 0);
  return { ...result, promptTokens, wallMs: clock.now() - startedAt };
}

function summarise(
  variant: DesiredVariant,
  loaded: LoadedModel,
  done: readonly Repetition[],
  used: ReturnType<JobEnergy['stop']>,
  clock: Clock,
): Measurement {
  if (done.length === 0) {
    throw new FleetError('engine.timeout', `no answer of ${variant.variantId} within ${DEADLINE} ms`, {
      retryable: false,
    });
  }
  const promptTokens = total(done, 'promptTokens');
  const outputTokens = total(done, 'outputTokens');
  if (promptTokens === 0 || outputTokens === 0) {
    throw new FleetError('engine.unavailable', `${variant.variantId} gave ${outputTokens} tokens for ${promptTokens}`);
  }
  const perMs = Math.max(0, used.energy) / Math.max(total(done, 'prefill') + total(done, 'decode'), LEAST_MS);
  const prefillMs = perToken(done, 'prefill', 'promptTokens');
  const decodeMs = perToken(done, 'decode', 'outputTokens');
  return {
    variantId: variant.variantId,
    sha256: variant.sha256,
    ...(variant.serving === undefined ? {} : { serving: variant.serving }),
    prefillTokensPerS: 1000 / median(prefillMs),
    decodeTokensPerS: 1000 / median(decodeMs),
    relativeSd: relativeSd(decodeMs),
    prefillJPerToken: perMs * median(prefillMs),
    decodeJPerToken: perMs * median(decodeMs),
    energySource: used.source,
    overheadMs: median(done.map((one) => Math.max(0, one.wallMs - one.prefill - one.decode))),
    loadMs: loaded.loadTime,
    memoryBytes: Math.round(loaded.memory),
    measuredAtMs: clock.now(),
  };
}

/** Milliseconds per token of each repetition that had any; a time below the clock's resolution counts as a microsecond. */
function perToken(
  done: readonly Repetition[],
  time: 'prefill' | 'decode',
  tokens: 'promptTokens' | 'outputTokens',
): readonly number[] {
  return done.filter((one) => one[tokens] > 0).map((one) => Math.max(one[time], LEAST_MS) / one[tokens]);
}

/** 0 for no values. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle)] ?? 0)) / 2;
}

/** From the median of absolute deviations, which one disturbed repetition does not move; for a normal distribution the sd. */
function relativeSd(values: readonly number[]): number {
  if (values.length < 2) return UNKNOWN_RELATIVE_SD;
  const middle = median(values);
  return (NORMAL_PER_MAD * median(values.map((value) => Math.abs(value - middle)))) / middle;
}

function total(done: readonly Repetition[], key: 'prefill' | 'decode' | 'promptTokens' | 'outputTokens'): number {
  return done.reduce((sum, one) => sum + one[key], 0);
}
