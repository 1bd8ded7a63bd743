import { describe, expect, it } from 'vitest';

import { ManualClock, systemClock } from '@fleetgate/shared/clock';
import { variantId } from '@fleetgate/shared/ids';
import { measurementSchema } from '@fleetgate/shared/protocol/twin';
import { bytes, joules, milliseconds } from '@fleetgate/shared/units/quantity';

import type { GenerateResult } from '../engine/engine.js';
import { ScriptedEngine } from '../engine/scripted-engine.js';
import { measureVariant } from './enrolment-benchmark.js';

const VARIANT = {
  variantId: variantId('math-q8_0'),
  purpose: 'measure',
  sha256: 'a'.repeat(64),
  sizeBytes: 10,
  contextTokens: 512,
  stop: [],
} as const;
const variant = { ...VARIANT, stop: [] };
const LOADED = { memory: bytes(1000), loadTime: milliseconds(7) };
const never = (): AbortSignal => new AbortController().signal;

function anEngine(result: (call: number) => Partial<GenerateResult>) {
  const clock = new ManualClock();
  const engine = new ScriptedEngine({ clock });
  const prompts: string[] = [];
  engine.generate = async (_, input) => {
    prompts.push(input.kind === 'complete' ? input.prompt : '');
    const usual = { promptTokens: 100, outputTokens: 32, prefill: milliseconds(50), decode: milliseconds(320) };
    const answer: GenerateResult = { finishReason: 'length', ...usual, ...result(prompts.length) };
    clock.advance(answer.prefill + answer.decode + 4);
    return answer;
  };
  const energy = { start: () => {}, stop: () => ({ energy: joules(11.1), source: 'modelled' as const }) };
  return { clock, engine, energy, prompts };
}

describe('the enrolment benchmark', () => {
  it('gives speeds, energy per token, overhead and spread', async () => {
    const { prompts, ...around } = anEngine(() => ({}));
    const measurement = await measureVariant(variant, LOADED, around, never());
    expect(measurementSchema.parse(measurement)).toMatchObject({
      prefillTokensPerS: 2000,
      decodeTokensPerS: 100,
      relativeSd: 0,
      // 11.1 J over 3 x 370 ms is 10 W.
      prefillJPerToken: expect.closeTo(0.005, 9) as number,
      decodeJPerToken: expect.closeTo(0.1, 9) as number,
      overheadMs: 4,
      loadMs: 7,
      memoryBytes: 1000,
    });
    expect(prompts).toHaveLength(4);
    // No two begin alike: a cached prefix would make prefill look free.
    expect(new Set(prompts.map((prompt) => prompt.slice(0, 2))).size).toBe(4);
  });

  it('goes on while answers are short, and stops after nine', async () => {
    const { prompts, ...around } = anEngine(() => ({ outputTokens: 2, finishReason: 'stop' }));
    await measureVariant(variant, LOADED, around, never());
    expect(prompts).toHaveLength(10);
  });

  it('takes no notice of one repetition that something else disturbed', async () => {
    const { prompts: _prompts, ...around } = anEngine((call) =>
      call === 3 ? { prefill: milliseconds(900), decode: milliseconds(4000) } : {},
    );
    expect(await measureVariant(variant, LOADED, around, never())).toMatchObject({
      prefillTokensPerS: 2000,
      decodeTokensPerS: 100,
      relativeSd: 0,
    });
  });

  it('counts what was done when a big model runs into the deadline', async () => {
    const { prompts, ...around } = anEngine((call) => (call >= 3 ? { finishReason: 'cancelled' } : {}));
    expect(await measureVariant(variant, LOADED, around, never())).toMatchObject({
      decodeTokensPerS: 100,
      relativeSd: 0.3,
    });
    expect(prompts).toHaveLength(3);
  });

  it.each([
    ['nothing ended', { finishReason: 'cancelled' as const }, 'engine.timeout'],
    ['no token came', { outputTokens: 0 }, 'engine.unavailable'],
  ])('fails when %s', async (_, result, code) => {
    const { prompts: _prompts, ...around } = anEngine(() => result);
    await expect(measureVariant(variant, LOADED, around, never())).rejects.toMatchObject({ code });
  });

  it('runs on an engine with real timers', async () => {
    const engine = new ScriptedEngine({ clock: systemClock, perToken: milliseconds(1), prefill: milliseconds(2) });
    await engine.load({ ...variant, path: '' }, never());
    const energy = { start: () => {}, stop: () => ({ energy: joules(1), source: 'modelled' as const }) };
    const measurement = await measureVariant(variant, LOADED, { engine, energy, clock: systemClock }, never());
    expect(measurementSchema.safeParse(measurement).success).toBe(true);
  });
});
