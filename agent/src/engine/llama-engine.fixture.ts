import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

import { type Clock, systemClock } from '@fleetgate/shared/clock';
import { variantId } from '@fleetgate/shared/ids';
import { silentLogger } from '@fleetgate/shared/logger';
import { milliseconds } from '@fleetgate/shared/units/quantity';

import type { EngineModel, EngineState } from './engine.js';
import { createLlamaEngine, type LlamaEngine } from './llama-engine.js';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
export const PROMPT = 'Janet has 3 apples and buys 4 more. How many apples does she have now?';
export const GREEDY = { maxTokens: 250, temperature: 0, topP: 1, stop: [] };
export const never = new AbortController().signal;

export const modelOf = (expert: string): EngineModel => ({
  variantId: variantId(`${expert}-q8_0`),
  path: join(ROOT, 'experts', expert, `${expert}-q8_0.gguf`),
  contextTokens: 320,
  stop: ['\nQuestion:'],
});
export const chat = (content: string) => ({ kind: 'chat' as const, messages: [{ role: 'user' as const, content }] });
export const MATH = modelOf('math');

const engines: LlamaEngine[] = [];

/** Closed by `closeEngines`, unless it is kept. */
export const openEngine = (watchdogMs = 10_000, clock: Clock = systemClock): LlamaEngine => {
  const engine = keptEngine(watchdogMs, clock);
  engines.push(engine);
  return engine;
};

export const keptEngine = (watchdogMs = 10_000, clock: Clock = systemClock): LlamaEngine =>
  createLlamaEngine({
    ...{ threads: 1, sequences: 2, gpu: 'off', log: silentLogger, clock },
    watchdog: milliseconds(watchdogMs),
  });

/** To be called after each test. */
export async function closeEngines(): Promise<void> {
  for (const engine of engines.splice(0)) await engine.close();
}

/** Resolves when the engine is in that state. */
export async function reached(engine: LlamaEngine, state: EngineState['state']): Promise<void> {
  if (engine.state().state === state) return;
  await new Promise<void>((resolve) => {
    const end = engine.onState((now) => {
      if (now.state !== state) return;
      end();
      resolve();
    });
  });
}
