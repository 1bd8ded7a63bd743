import { joules } from '@fleetgate/shared/units/quantity';

import type { Prompt } from '../prompt.js';
import type { ParsedRequest } from './schema.js';

/**
 * The prompts that a request is dispatched as: one for each answer that it asks for, `answers` of them.
 *
 * What the client allows is shared out among them, time excepted: they are answered beside each other. A seed gives each
 * its own, and the same ones again; without one they differ by chance, at a temperature above 0.
 */
export function promptsOf({ prompt, answers }: Pick<ParsedRequest, 'prompt' | 'answers'>): readonly Prompt[] {
  if (answers === 1) return [prompt];
  const { energy, calls } = prompt.limits;
  const limits = {
    ...prompt.limits,
    energy: energy === undefined ? undefined : joules(energy / answers),
    ...(calls === undefined ? {} : { calls: Math.max(1, Math.floor(calls / answers)) }),
  };
  const { seed } = prompt.sampling;
  return Array.from({ length: answers }, (_, at) => ({
    ...prompt,
    limits,
    sampling: { ...prompt.sampling, ...(seed === undefined ? {} : { seed: seed + at }) },
  }));
}
