/** What one mixture-of-experts layer did with the tokens of one evaluation. */
export interface RoutedLayer {
  readonly layer: number;
  readonly tokens: number;
  readonly slabsPerToken: number;
  /** `tokens x slabsPerToken`, token by token: the slabs chosen, by their number in the file. */
  readonly slabs: Int32Array;
  /**
   * `tokens x slabsPerLayer`: the router's probabilities (before the choice; softmax or sigmoid as the architecture
   * has it). Absent where nobody asked for them.
   */
  readonly probabilities?: Float32Array;
}

/** For each layer that has slabs (index as in `SlabLayout.layers`), the slabs that stay in play; ascending. */
export type KeepSets = readonly (readonly number[])[];
