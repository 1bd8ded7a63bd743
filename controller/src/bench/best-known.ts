/** What was known of the large reference instances of `fleet-opt/1`: best objective and proven bound by any solver. */
export interface BestKnown {
  readonly objective: number;
  readonly bound: number;
}

const LARGE: Readonly<Record<string, BestKnown>> = {
  'hard-040x12x10': { objective: 839.4231, bound: 839.4231 },
  'hard-100x20x16': { objective: 830.6426, bound: 830.6426 },
  'hard-1000x40x32': { objective: 907.37, bound: 907.378 },
  'jitter-1000x40x32': { objective: 906.145, bound: 910.18 },
  'hard-10000x40x32-pools': { objective: 914.749, bound: 914.921 },
};

export const bestKnown = (name: string): BestKnown | undefined => LARGE[name];
