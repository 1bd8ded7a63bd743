import type { Address, Libc } from '../native/linux-libc.js';
import type { RoutedLayer } from '../slabs/routing.js';
import type { ModelSource } from './disk-model-source.js';
import type { FileMapping } from './linux-mapping.js';
import { type ResidencyFigures, type SlabResidency, WORTH_READING } from './residency.js';
import type { PageRange, SlabPages } from './slab-pages.js';

export interface HintParts {
  readonly libc: Libc;
  readonly pages: SlabPages;
  readonly mapping: FileMapping;
  readonly source: ModelSource;
  /** The mapping is of a file that has holes in the slabs' places: the real one is mapped over them. */
  readonly overSkeleton: boolean;
  /** Also waits until the pages are there and mapped, where the kernel can: fewer faults, and the wait is seen. */
  readonly populate: boolean;
}

/**
 * Slabs stay pages of the file, and the kernel decides which of them are in memory. It is told which ones are needed before
 * computation touches them, all at once, so that it reads exactly these and several at a time.
 *
 * A hint that is lost costs time, never a wrong token. Reading is never declared random: a slab that was not hinted would
 * then be read page by page (measured 30 times slower than no hints at all).
 */
export class HintResidency implements SlabResidency {
  readonly strategy = 'hint';
  readonly #parts: HintParts;
  readonly #ranges: readonly (readonly (PageRange & { readonly address: Address })[])[];
  #populate: boolean;
  #figures = { routed: 0, hits: 0, tokens: 0, bytesRead: 0, waitMs: 0 };
  #isClosed = false;

  constructor(parts: HintParts) {
    this.#parts = parts;
    this.#populate = parts.populate;
    const { libc, mapping, pages, source, overSkeleton } = parts;
    this.#ranges = pages.ranges.map((ranges) =>
      ranges.map((range) => ({ ...range, address: mapping.addressOf(range.offset, range.bytes) })),
    );
    if (!overSkeleton) return;
    for (const { offset, bytes } of pages.spans) {
      libc.mapFile(mapping.addressOf(offset, bytes), bytes, source.fd, offset);
    }
  }

  begin(tokens: number): void {
    this.#parts.source.check();
    this.#figures.tokens += tokens;
  }

  expect(frequencies: ArrayLike<number>, mostBytes: number): void {
    const { libc } = this.#parts;
    const hottest = [...this.#ranges.entries()]
      .filter(([slab]) => (frequencies[slab] ?? 0) >= WORTH_READING)
      .toSorted(([a], [b]) => (frequencies[b] ?? 0) - (frequencies[a] ?? 0));
    let total = 0;
    for (const [, ranges] of hottest) {
      total += ranges.reduce((sum, { bytes }) => sum + bytes, 0);
      if (total > mostBytes) return;
      for (const range of ranges) if (this.#isAbsent(range)) libc.willNeed(range.address, range.bytes);
    }
  }

  ensure({ layer, slabs }: RoutedLayer): void {
    const { libc, pages, source } = this.#parts;
    const missing: (PageRange & { readonly address: Address })[] = [];
    for (const slab of new Set(slabs)) {
      const absent = (this.#ranges[layer * pages.slabsPerLayer + slab] ?? []).filter((range) => this.#isAbsent(range));
      this.#figures.routed++;
      if (absent.length === 0) this.#figures.hits++;
      missing.push(...absent);
    }
    if (missing.length === 0) return;
    const startedAt = performance.now();
    for (const { address, bytes } of missing) libc.willNeed(address, bytes);
    if (this.#populate) this.#populate = missing.every(({ address, bytes }) => libc.populate(address, bytes));
    this.#figures.waitMs += performance.now() - startedAt;
    source.check();
  }

  /** Counts what has to be read; where the kernel does not tell, all of it is asked for, and nothing counted. */
  #isAbsent({ address, bytes }: PageRange & { readonly address: Address }): boolean {
    const { libc } = this.#parts;
    const resident = libc.residentPages(address, bytes);
    if (resident === undefined) return true;
    const absentBytes = bytes - resident * libc.pageBytes;
    this.#figures.bytesRead += absentBytes;
    return absentBytes > 0;
  }

  /** `waitMs` is that of the calls; what faults of pages still under way cost is not seen by us. */
  figures(): ResidencyFigures {
    const figures = this.#figures;
    this.#figures = { routed: 0, hits: 0, tokens: 0, bytesRead: 0, waitMs: 0 };
    return figures;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#parts.source.close();
  }
}
