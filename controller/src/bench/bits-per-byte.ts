import { meanOf } from './distribution.js';

export interface ScoredAnswer {
  readonly domain: string;
  readonly bits: number;
  readonly bytes: number;
}

/**
 * Bits over bytes of each domain's answers together, in order of name, and the mean of the domains: long answers of one do
 * not outweigh another.
 */
export function bitsPerByte(answers: readonly ScoredAnswer[]): {
  readonly byDomain: ReadonlyMap<string, number>;
  readonly mean: number;
} {
  const domains = [...new Set(answers.map(({ domain }) => domain))].sort();
  const byDomain = new Map(
    domains.map((domain) => {
      const own = answers.filter((answer) => answer.domain === domain);
      const bits = own.reduce((sum, answer) => sum + answer.bits, 0);
      return [domain, bits / own.reduce((sum, answer) => sum + answer.bytes, 0)];
    }),
  );
  return { byDomain, mean: meanOf([...byDomain.values()]) };
}
