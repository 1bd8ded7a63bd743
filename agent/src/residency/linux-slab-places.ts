import type { Address, Libc } from '../native/linux-libc.js';
import type { SlabId } from '../slabs/cache-policy.js';
import type { Admission } from '../slabs/slab-cache.js';
import type { FileMapping } from './linux-mapping.js';
import type { PageRange, SlabPages } from './slab-pages.js';

/** Pages of a slab, where llama.cpp expects them. */
export type SlabPlace = PageRange & { readonly address: Address };

/** Memory of our own over the places of slabs; what is not open is not accessible, and takes no memory. */
export class SlabPlaces {
  readonly #libc: Libc;
  readonly #places: readonly (readonly SlabPlace[])[];
  #canMove = true;

  /** Lays it over the mapping; all of it is shut. */
  constructor(libc: Libc, mapping: FileMapping, pages: SlabPages) {
    this.#libc = libc;
    this.#places = pages.ranges.map((ranges) =>
      ranges.map((range) => ({ ...range, address: mapping.addressOf(range.offset, range.bytes) })),
    );
    for (const { offset, bytes } of pages.spans) {
      const at = mapping.addressOf(offset, bytes);
      libc.mapNothing(at, bytes);
      libc.withoutHugePages(at, bytes);
    }
  }

  of(slab: SlabId): readonly SlabPlace[] {
    return this.#places[slab] ?? [];
  }

  /**
   * Opens the missing slabs' places and shuts the evicted ones'. Pages move from one to the other where they are as many:
   * giving them back and taking new ones costs their clearing and a fault each.
   */
  exchange({ evicted, missing }: Admission): void {
    const free = new Map<number, Address[]>();
    for (const { address, bytes } of evicted.flatMap((slab) => this.of(slab))) {
      const same = free.get(bytes);
      if (same === undefined) free.set(bytes, [address]);
      else same.push(address);
    }
    for (const { address, bytes } of missing.flatMap((slab) => this.of(slab))) {
      const from = this.#canMove ? free.get(bytes)?.pop() : undefined;
      if (from !== undefined) {
        this.#canMove = this.#libc.movePages(from, address, bytes);
        this.#libc.protect(from, bytes, 'none');
        if (this.#canMove) continue;
        this.#libc.drop(from, bytes);
      }
      this.#libc.protect(address, bytes, 'read-write');
    }
    for (const [bytes, addresses] of free) for (const address of addresses) this.#shut(address, bytes);
  }

  /** Gives the pages of a slab back and makes them inaccessible. */
  shut(slab: SlabId): void {
    for (const { address, bytes } of this.of(slab)) this.#shut(address, bytes);
  }

  #shut(address: Address, bytes: number): void {
    this.#libc.protect(address, bytes, 'none');
    this.#libc.drop(address, bytes);
  }
}
