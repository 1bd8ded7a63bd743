import type { Clock } from '@fleetgate/shared/clock';
import { FleetError } from '@fleetgate/shared/errors';
import type { DesiredVariant, Measurement } from '@fleetgate/shared/protocol/twin';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { Engine, GenerateResult, LoadedModel } from '../engine/engine.js';
import type { JobEnergy } from './job-runner.js';

/** Ends the benchmark of a big model on a slow board; what was measured by then counts. */
const DEADLINE = milliseconds(30_000);
const REPETITIONS = 3;
const MOST_REPETITIONS = 6;
/** Output tokens to have seen before the decode rate is believed. */
const ENOUGH_TOKENS = 48;
const OUTPUT_TOKENS = 32;
const PROMPT_WORDS = 160;
/** Assumed where one repetition was all there was time for. */
const UNKNOWN_RELATIVE_SD = 0.3;

const WORDS =
  'the river carries small stones past old houses while people count numbers and write short letters about work weather food music and time'.split(
    ' ',
  );

interface Repetition extends GenerateResult {
  readonly wallMs: number;
}

/**
 * Measures a resident variant: prefill and decode speed, energy, overhead.
 *
 * One warm-up, then three to six generations, each with a prompt that begins differently, so that no engine can reuse
 * the last one's cache. Energy is split between prefill and decode by their time: no board sensor is faster than that.
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
    for (let i = 1; i <= MOST_REPETITIONS; i++) {
      const one = await repetition(variant, engine, clock, both, i);
      if (one.finishReason === 'cancelled') break;
      done.push(one);
      if (i >= REPETITIONS && total(done, 'outputTokens') >= ENOUGH_TOKENS) break;
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
  return { ...result, wallMs: clock.now() - startedAt };
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
  const prefillMs = total(done, 'prefill');
  const decodeMs = total(done, 'decode');
  const promptTokens = total(done, 'promptTokens');
  const outputTokens = total(done, 'outputTokens');
  if (promptTokens === 0 || outputTokens === 0) {
    throw new FleetError('engine.unavailable', `${variant.variantId} gave ${outputTokens} tokens for ${promptTokens}`);
  }
  const engineMs = Math.max(prefillMs + decodeMs, 1e-3);
  const perMs = Math.max(0, used.energy) / engineMs;
  const overheads = done.map((one) => Math.max(0, one.wallMs - one.prefill - one.decode)).sort((a, b) => a - b);
  return {
    variantId: variant.variantId,
    sha256: variant.sha256,
    prefillTokensPerS: rate(promptTokens, prefillMs),
    decodeTokensPerS: rate(outputTokens, decodeMs),
    relativeSd: relativeSd(done.filter((one) => one.outputTokens > 0).map((one) => one.decode / one.outputTokens)),
    prefillJPerToken: (perMs * prefillMs) / promptTokens,
    decodeJPerToken: (perMs * decodeMs) / outputTokens,
    energySource: used.source,
    overheadMs: overheads[Math.floor(overheads.length / 2)] ?? 0,
    loadMs: loaded.loadTime,
    memoryBytes: Math.round(loaded.memory),
    measuredAtMs: clock.now(),
  };
}

/** Tokens per second; a time below the clock's resolution counts as a microsecond. */
function rate(tokens: number, durationMs: number): number {
  return (tokens * 1000) / Math.max(durationMs, 1e-3);
}

function relativeSd(values: readonly number[]): number {
  if (values.length < 2) return UNKNOWN_RELATIVE_SD;
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  return mean > 0 ? Math.sqrt(variance) / mean : 0;
}

function total(done: readonly Repetition[], key: 'prefill' | 'decode' | 'promptTokens' | 'outputTokens'): number {
  return done.reduce((sum, one) => sum + one[key], 0);
}
