import { PROJECTIONS } from '../gguf/slab-layout.js';
import type { Address, Libc } from '../native/linux-libc.js';
import type { SlabId } from '../slabs/cache-policy.js';
import type { Admission } from '../slabs/slab-cache.js';
import type { FileMapping } from './linux-mapping.js';
import { insidePages, type SlabPages, type SlabRange } from './slab-pages.js';

/** Pages of a slab, where llama.cpp expects them. */
export type SlabPlace = SlabRange & { readonly address: Address };

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
   * Opens the missing slabs' places, telling of each in the order of their use, then shuts the evicted ones'. Pages move from
   * one to the other where they are as many: giving them back and taking new ones costs their clearing and a fault each.
   */
  exchange({ evicted, missing }: Admission, onOpen: (slab: SlabId, place: SlabPlace) => void): void {
    const free = new Map<number, Address[]>();
    for (const { address, bytes } of evicted.flatMap((slab) => this.of(slab))) {
      const same = free.get(bytes);
      if (same === undefined) free.set(bytes, [address]);
      else same.push(address);
    }
    const emptied: { readonly address: Address; readonly bytes: number }[] = [];
    try {
      for (const projection of PROJECTIONS) {
        for (const slab of missing) {
          const place = this.of(slab).find((one) => one.projection === projection);
          if (place === undefined) continue;
          const from = this.#canMove ? free.get(place.bytes)?.pop() : undefined;
          if (from !== undefined) emptied.push({ address: from, bytes: place.bytes });
          this.#open(place, from);
          onOpen(slab, place);
        }
      }
    } finally {
      // While storage is at it: nothing is computed before this returns.
      for (const { address, bytes } of emptied) this.#libc.protect(address, bytes, 'none');
      for (const [bytes, addresses] of free) for (const address of addresses) this.#shut(address, bytes);
    }
  }

  #open({ address, bytes }: SlabPlace, from: Address | undefined): void {
    if (from !== undefined) {
      this.#canMove = this.#libc.movePages(from, address, bytes);
      if (this.#canMove) return;
      this.#libc.drop(from, bytes);
    }
    this.#libc.protect(address, bytes, 'read-write');
  }

  /** Gives back the pages that lie wholly in a piece of memory; what it holds is lost. */
  giveBack({ address, bytes }: { readonly address: Address; readonly bytes: number }): void {
    const inside = insidePages(address, bytes, this.#libc.pageBytes);
    if (inside.bytes > 0) this.#libc.drop(inside.offset, inside.bytes);
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
