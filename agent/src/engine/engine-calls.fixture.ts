import type { FleetError } from '@fleetgate/shared/errors';
import type { Sampling } from '@fleetgate/shared/protocol/job';
import { expect } from 'vitest';

import type { Engine, EngineModel, GenerateInput, GenerateResult, MixOptions, MixResult, MixStep } from './engine.js';

/** An engine under test, with a model it can load and a prompt whose greedy answer is longer than ten tokens. */
export interface EngineUnderTest {
  readonly engine: Engine;
  readonly model: EngineModel;
  readonly prompt: string;
  /** Whether it scores and mixes. */
  readonly scores: boolean;
  /** Whether it keeps answers within grammars; absent where that is up to a server. */
  readonly knowsGrammars?: boolean;
  close(): Promise<void>;
}

export const GREEDY: Sampling = { maxTokens: 60, temperature: 0, topP: 1, stop: [] };
export const never = new AbortController().signal;

/** Calls to the engine under test, as the contract makes them. */
export interface EngineCalls {
  readonly under: EngineUnderTest;
  readonly chat: () => GenerateInput;
  /** What was streamed, checked piece by piece. */
  readonly run: (
    sampling?: Partial<Sampling>,
    input?: GenerateInput,
    signal?: AbortSignal,
    onText?: (text: string) => void,
  ) => Promise<{ text: string; tokens: number; result: GenerateResult }>;
  readonly likeliest: (step: MixStep) => Promise<number>;
  readonly mix: (
    options?: Partial<MixOptions>,
    choose?: (step: MixStep) => Promise<number>,
    signal?: AbortSignal,
  ) => Promise<{ text: string; steps: MixStep[]; result: MixResult }>;
  /** Undefined for a call that did not fail. */
  readonly codeOf: (call: Promise<unknown>) => Promise<string | undefined>;
}

/** `under` is asked at each call: it is opened before the first test. */
export function engineCalls(under: () => EngineUnderTest): EngineCalls {
  const chat = (): GenerateInput => ({ kind: 'chat', messages: [{ role: 'user', content: under().prompt }] });

  const run = async (
    sampling: Partial<Sampling> = {},
    input = chat(),
    signal = never,
    onText: (text: string) => void = () => {},
  ): Promise<{ text: string; tokens: number; result: GenerateResult }> => {
    let text = '';
    let tokens = 0;
    const result = await under().engine.generate(
      under().model.variantId,
      input,
      { ...GREEDY, ...sampling },
      (piece, count) => {
        expect(piece).not.toBe('');
        text += piece;
        tokens += count;
        onText(piece);
      },
      signal,
    );
    return { text, tokens, result };
  };

  const likeliest = async ({ next }: MixStep): Promise<number> => next.ids[0] ?? -1;

  const mix = async (
    options: Partial<MixOptions> = {},
    choose = likeliest,
    signal = never,
  ): Promise<{ text: string; steps: MixStep[]; result: MixResult }> => {
    const steps: MixStep[] = [];
    const result = await under().engine.mix(
      under().model.variantId,
      { input: chat(), topK: 40, maxTokens: GREEDY.maxTokens, stop: [], ...options },
      async (step) => {
        steps.push(step);
        return choose(step);
      },
      signal,
    );
    return { text: [...steps, result].map(({ text }) => text).join(''), steps, result };
  };

  const codeOf = async (call: Promise<unknown>): Promise<string | undefined> => {
    const error = await call.then(
      () => undefined,
      (thrown: FleetError) => thrown,
    );
    return error?.code;
  };

  return {
    get under() {
      return under();
    },
    ...{ chat, run, likeliest, mix, codeOf },
  };
}
