/** What the demand for slabs proposes, as the HTTP API shows it. */
export interface ProposalView {
  readonly id: string;
  readonly variantId: string;
  /** Class of devices that it is for. */
  readonly board: string;
  readonly devices: readonly string[];
  /** Tokens whose routing it is made of. */
  readonly tokens: number;
  /** `prune`: answers with some slabs only. `offload`: another share of the slabs in memory, the same answers. */
  readonly kind: 'prune' | 'offload';
  readonly slabs: number;
  readonly of: number;
  /** Share of the choices that fell on these slabs. */
  readonly covered: number;
  /** Less memory than now; below 0: more. */
  readonly savedBytes: number;
  /** `open`: being tried, or nothing has to be shown. */
  readonly state: 'open' | 'tolerated' | 'too-much';
  /** Of a mask: quality lost on the labelled prompts asked so far; null before the first. */
  readonly lostQuality: number | null;
  readonly prompts: number;
}
