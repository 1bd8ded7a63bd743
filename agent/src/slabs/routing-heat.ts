import { type SlabHeat, slabHeatOf } from '@fleetgate/shared/catalogue/slab-heat';

import type { RoutedLayer } from './routing.js';

/** Told this often, tokens. */
const TOLD_EVERY = 1024;
/** A choice counts half after so many tokens. */
const HALF_LIFE = 32_768;
const FADE = 2 ** (-TOLD_EVERY / HALF_LIFE);

/** Counts how often the router of a served model chooses each slab, older choices counting less. */
export class RoutingHeat {
  readonly #counts: readonly Float64Array[];
  #tokens = 0;
  #sinceTold = 0;

  constructor(layers: number, slabsPerLayer: number) {
    this.#counts = Array.from({ length: layers }, () => new Float64Array(slabsPerLayer));
  }

  routed({ layer, tokens, slabs }: RoutedLayer): void {
    const counts = this.#counts[layer];
    if (counts === undefined) return;
    for (const slab of slabs) counts[slab] = (counts[slab] ?? 0) + 1;
    if (layer === 0) this.#sinceTold += tokens;
  }

  /** Undefined while little has come since it was told. */
  tell(): SlabHeat | undefined {
    if (this.#sinceTold < TOLD_EVERY) return undefined;
    this.#tokens += this.#sinceTold;
    this.#sinceTold = 0;
    const heat = slabHeatOf(this.#tokens, this.#counts);
    this.#tokens *= FADE;
    for (const layer of this.#counts)
      for (let slab = 0; slab < layer.length; slab++) layer[slab] = (layer[slab] ?? 0) * FADE;
    return heat;
  }
}
