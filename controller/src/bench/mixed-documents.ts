import type { ValidationPair } from './disk-validation-pairs.js';

/** Characters of each half: two of them stay within a context of 320 tokens. */
const MOST_CHARACTERS = 420;

/**
 * Documents that turn from one domain to another: a question with its answer, then one of another domain. `perPair` of
 * every ordered pair of domains, made of their short pairs in order; the prompt is the first question.
 */
export function mixedDocuments(pairs: readonly ValidationPair[], perPair: number): readonly ValidationPair[] {
  const short = pairs.filter(({ prompt, completion }) => prompt.length + completion.length <= MOST_CHARACTERS);
  const domains = [...new Set(short.map(({ domain }) => domain))].sort();
  const of = (domain: string): readonly ValidationPair[] => short.filter((pair) => pair.domain === domain);
  return domains.flatMap((from, a) =>
    domains.flatMap((to, b) => {
      if (from === to) return [];
      const [first, second] = [of(from), of(to)];
      return Array.from({ length: perPair }, (_, at): ValidationPair[] => {
        // Other partners for every pair of domains, so that no half is used over and over.
        const one = first[(at + b * perPair) % first.length];
        const other = second[(at + a * perPair) % second.length];
        if (one === undefined || other === undefined) return [];
        const turn = `\nQuestion: ${other.prompt}\nAnswer: ${other.completion}`;
        return [{ domain: `${from} then ${to}`, prompt: one.prompt, completion: one.completion + turn }];
      }).flat();
    }),
  );
}
