import { FleetError } from '@fleetgate/shared/errors';

import type { Projection } from '../gguf/slab-layout.js';
import type { SlabId } from '../slabs/cache-policy.js';
import type { EvictFrom, SlabCache } from '../slabs/slab-cache.js';
import type { ModelSource } from './disk-model-source.js';
import type { SlabPlace, SlabPlaces } from './linux-slab-places.js';
import { CUT_OFF } from './read-queue.js';
import type { SlabPages } from './slab-pages.js';
import type { SlabReads } from './worker-slab-reads.js';

export interface AdmissionParts {
  readonly pages: SlabPages;
  readonly places: SlabPlaces;
  readonly source: ModelSource;
  readonly cache: SlabCache;
  readonly reads: SlabReads;
}

/**
 * Brings slabs into memory as the cache decides: exchanges their places, has them read, holds them while they are needed or
 * read, and forgets those whose reading failed.
 */
export class SlabAdmission {
  readonly #parts: AdmissionParts;
  readonly #held = new Set<SlabId>();
  /** Reads that begin when those have ended that are needed before. */
  readonly #late: { readonly slab: SlabId; readonly place: SlabPlace }[] = [];
  /** Slabs read when the source was last found unchanged. */
  #checked = 0;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  get held(): readonly SlabId[] {
    return [...this.#held];
  }

  /**
   * Takes slabs in and starts to read those that are missing; of a projection that is needed `later`, with `finishEarly`.
   * False, and nothing done, where they do not fit now.
   */
  admit(slabs: readonly SlabId[], from: EvictFrom, later?: Projection): boolean {
    const { cache, reads, places } = this.#parts;
    const admission = cache.request(slabs, from);
    if (admission === undefined) return false;
    for (const slab of slabs) this.#held.add(slab);
    try {
      for (const slab of admission.missing) reads.expect(slab, places.of(slab));
      places.exchange(admission, (slab, place) => {
        if (later === place.projection) {
          this.#late.push({ slab, place });
          return;
        }
        reads.put(slab, place);
        reads.publish();
      });
    } catch (error) {
      this.#late.length = 0;
      reads.giveUp(admission.missing);
      throw error;
    }
    return true;
  }

  /**
   * Waits until all that is wanted is there, but for what is needed `later`. Storage shares itself among reads under way:
   * those begin when the others have ended. Throws as `finish`.
   */
  finishEarly(wanted: readonly SlabId[], later: Projection | undefined): void {
    const { reads } = this.#parts;
    try {
      this.finish(wanted, later);
      for (const { slab, place } of this.#late) reads.put(slab, place);
      if (this.#late.length > 0) reads.publish();
    } catch (error) {
      reads.giveUp(this.#late.map(({ slab }) => slab));
      throw error;
    } finally {
      this.#late.length = 0;
    }
  }

  /**
   * Waits until all that is wanted is there, but for this projection of it. Throws as `SlabReads.finish`, and
   * `artefact.unavailable` where a read has failed or the file is another one now.
   */
  finish(wanted: readonly SlabId[], but?: Projection): void {
    const { reads, source } = this.#parts;
    if (wanted.some((slab) => reads.isReading(slab))) reads.finish(wanted, but);
    if (reads.finished === this.#checked) return;
    this.checkFailures();
    source.check();
    this.#checked = reads.finished;
  }

  /** Lets go of all that is held, but for what is wanted next, what is expected and what is still being read. */
  settle(wanted: readonly SlabId[], isExpected: (slab: SlabId) => boolean = () => false): void {
    const { cache, reads } = this.#parts;
    const kept = new Set(wanted);
    for (const slab of this.#held) {
      if (kept.has(slab) || isExpected(slab) || reads.isReading(slab)) continue;
      this.#held.delete(slab);
      cache.release([slab]);
    }
  }

  /** What was read ahead and failed is not there; it is read again where it is wanted. */
  dropFailed(): ReadonlyMap<SlabId, number> {
    const { reads, cache, places } = this.#parts;
    reads.poll();
    const failures = reads.takeFailures();
    for (const slab of failures.keys()) {
      cache.drop(slab);
      this.#held.delete(slab);
      places.shut(slab);
    }
    return failures;
  }

  /** Throws `artefact.unavailable` where a read has failed since failures were last dropped. */
  checkFailures(): void {
    const [failure] = this.dropFailed();
    if (failure === undefined) return;
    const [slab, errno] = failure;
    const { slabsPerLayer } = this.#parts.pages;
    const what = errno === CUT_OFF ? 'the file is shorter than it was' : `error ${-errno}`;
    throw new FleetError(
      'artefact.unavailable',
      `${this.#parts.source.path}: reading slab ${slab % slabsPerLayer} of layer ` +
        `${Math.floor(slab / slabsPerLayer)} failed: ${what}`,
      { hint: 'the medium may be failing; the evaluation was given up and can be tried again', retryable: true },
    );
  }
}
