import type { ResidencyFigures, SlabResidency } from '../residency/residency.js';

/** What residency did since a model was loaded: it tells only of what was not asked for before. */
export class SlabFigures {
  readonly #residency: () => SlabResidency | undefined;
  #total: ResidencyFigures = { routed: 0, hits: 0, waitMs: 0 };

  constructor(residency: () => SlabResidency | undefined) {
    this.#residency = residency;
  }

  /** Undefined where all slabs are in memory. */
  get total(): ResidencyFigures | undefined {
    const more = this.#residency()?.figures();
    if (more === undefined) return undefined;
    const { routed, hits, waitMs, bytesRead, readAhead } = this.#total;
    this.#total = {
      routed: routed + more.routed,
      hits: hits + more.hits,
      waitMs: waitMs + more.waitMs,
      ...(more.bytesRead === undefined ? {} : { bytesRead: more.bytesRead + (bytesRead ?? 0) }),
      ...(more.readAhead === undefined ? {} : { readAhead: more.readAhead + (readAhead ?? 0) }),
    };
    return this.#total;
  }

  /** With several answers at once each is told what happened meanwhile, also for the others. */
  since(before: ResidencyFigures | undefined): ResidencyFigures | undefined {
    const now = this.total;
    if (now === undefined || before === undefined) return undefined;
    return {
      routed: now.routed - before.routed,
      hits: now.hits - before.hits,
      waitMs: now.waitMs - before.waitMs,
      ...(now.bytesRead === undefined ? {} : { bytesRead: now.bytesRead - (before.bytesRead ?? 0) }),
      ...(now.readAhead === undefined ? {} : { readAhead: now.readAhead - (before.readAhead ?? 0) }),
    };
  }
}
