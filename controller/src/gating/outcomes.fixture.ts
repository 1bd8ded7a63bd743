import { SeededRandom } from '@fleetgate/shared/random';

import type { Outcome } from './outcomes.js';

const WORDS: Readonly<Record<string, readonly string[]>> = {
  math: ['sum', 'apples', 'how many', 'total', 'each', 'twice', 'dollars', 'percent', '12', '7'],
  code: ['def', 'python', 'function', 'list[int]', 'return', 'argument', 'string', '(x, y)', 'sort', 'index'],
  story: ['king', 'forest', 'princess', 'why did', 'dragon', 'castle', 'old woman', 'happened', 'brother', 'felt'],
};
export const DOMAINS = Object.keys(WORDS);

/** Quality of each expert inside and outside its domain; `generalist` is middling everywhere. */
export const INSIDE = 0.7;
export const OUTSIDE = 0.15;
export const GENERALIST = 0.45;

/** Outcomes of three domain experts and a generalist on made-up prompts: the domain decides who is good. */
export function syntheticOutcomes(count: number, seed = 1): Outcome[] {
  const random = new SeededRandom(seed);
  const pick = <T>(items: readonly T[]): T | undefined => items[Math.floor(random.uniform() * items.length)];
  return Array.from({ length: count }, (_, at) => {
    const task = DOMAINS[at % DOMAINS.length] ?? 'math';
    const prompt = Array.from({ length: 6 + Math.floor(8 * random.uniform()) }, () => pick(WORDS[task] ?? [])).join(
      ' ',
    );
    const ease = 0.1 * (random.uniform() - 0.5);
    const noisy = (quality: number) =>
      Math.min(1, Math.max(0, quality * (1 + 2 * ease) + 0.05 * (random.uniform() - 0.5)));
    const y = Object.fromEntries([
      ...DOMAINS.map((domain) => [domain, noisy(domain === task ? INSIDE : OUTSIDE)] as const),
      ['generalist', noisy(GENERALIST)] as const,
    ]);
    const length = task === 'story' ? 20 : 100;
    return {
      id: `${task}-${at}`,
      task,
      prompt: `${prompt} ${at}`,
      prompt_tok: 20,
      y,
      out_tok: Object.fromEntries(Object.keys(y).map((name) => [name, length])),
    };
  });
}
