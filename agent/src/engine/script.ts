import type { NextTokens } from '@fleetgate/shared/mixture/next-token';

import type { GenerateInput, TokenChoice } from './engine.js';

/** Token of a scripted answer that ends it; the words of the script are 1, 2, 3, ... */
export const END_TOKEN = 0;

/** What a scripted model says of the token of `step`: the script's next word, `sureness` sure, or else the end. */
export function offered(step: number, words: number, sureness: number, topK: number): NextTokens {
  const likely = step < words ? step + 1 : END_TOKEN;
  if (topK === 1 || likely === END_TOKEN)
    return { ids: [likely], logProbs: [Math.log(sureness)], restProb: 1 - sureness };
  const [ids, probs] =
    sureness >= 0.5
      ? [
          [likely, END_TOKEN],
          [sureness, 1 - sureness],
        ]
      : [
          [END_TOKEN, likely],
          [1 - sureness, sureness],
        ];
  return { ids, logProbs: probs.map((p) => Math.log(p)), restProb: 0 };
}

/** Words of a script as tokens of an answer, each `sureness` sure, or else the end. */
export function choicesOf(script: readonly string[], sureness: number, topLogProbs: number): readonly TokenChoice[] {
  return script.map((text, step) => {
    const { ids, logProbs } = offered(step, script.length, sureness, Math.max(2, topLogProbs));
    const top = ids.map((id, i) => ({ text: id === END_TOKEN ? '' : text, logProb: logProbs[i] ?? -Infinity }));
    return { text, logProb: Math.log(sureness), top: top.slice(0, topLogProbs) };
  });
}

export function promptOf(input: GenerateInput): string {
  return input.kind === 'complete' ? input.prompt : input.messages.map(({ content }) => content).join('\n');
}

/** How often each letter comes, 1 more than it does; of 16 kinds. */
export function lettersOf(text: string): readonly number[] {
  const counts = Array.from({ length: 16 }, () => 1);
  for (let i = 0; i < text.length; i++) {
    const kind = text.charCodeAt(i) % counts.length;
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** Words with the spaces before them: joined, they give the text again. */
export function words(text: string): readonly string[] {
  return text.match(/\s*\S+\s*$|\s*\S+/g) ?? [];
}
