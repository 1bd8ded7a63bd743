/** Rollouts, as the HTTP API shows them. */

/** How one metric of the candidate stands beside the incumbent's. */
export interface RolloutMetricView {
  readonly metric: string;
  /** What may be lost: quality in 0..1, a share of jobs, and shares of speed and energy. */
  readonly margin: number;
  /** What is lost lies between these, whenever one looks; null: nothing can be said yet. Below 0: gained. */
  readonly lostAtLeast: number | null;
  readonly lostAtMost: number | null;
  readonly seen: { readonly candidate: number; readonly incumbent: number };
  readonly verdict: 'worse' | 'not-worse' | 'undecided';
}

export interface RolloutView {
  readonly id: string;
  readonly createdAtMs: number;
  readonly endedAtMs: number | null;
  readonly subject:
    | { readonly kind: 'variant'; readonly incumbent: string; readonly candidate: string }
    | { readonly kind: 'board-config' | 'agent'; readonly name: string; readonly sequence: number };
  readonly state: 'running' | 'paused' | 'adopted' | 'rolled-back' | 'aborted';
  readonly reason: string | null;
  /** Of the wave under way, from 1. */
  readonly wave: number;
  readonly waves: readonly unknown[];
  readonly waveBeganAtMs: number;
  /** When the last device of the wave had it; null: not yet. */
  readonly soakBeganAtMs: number | null;
  /** Devices that have the candidate, or are to. */
  readonly devices: readonly string[];
  readonly metrics: readonly RolloutMetricView[];
}
